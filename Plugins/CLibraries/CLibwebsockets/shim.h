// libwebsockets for Swift: the header, and what Swift cannot import of it (macros).
#include <libwebsockets.h>
