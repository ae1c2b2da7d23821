// usrsctp for Swift: the header, and what Swift cannot import of it.
#include <usrsctp.h>
