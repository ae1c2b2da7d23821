// GLib for Swift: the headers, and what Swift cannot import of them (macros, variadics).
#include <glib-object.h>
#include <glib-unix.h>
#include <glib.h>
