// libnice for Swift: the headers, and what Swift cannot import of them (macros, variadics).
#include <nice/agent.h>
