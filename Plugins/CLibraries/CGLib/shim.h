// GLib for Swift: its headers, and functions in place of the macros and variadics that Swift cannot import.
#ifndef CGLIB_SHIM_H
#define CGLIB_SHIM_H

#include <errno.h>
#include <glib-object.h>
#include <glib-unix.h>
#include <glib.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

// The private epoll set of the GLib contexts of a loop. Swift cannot lay out `struct epoll_event`, which is packed on
// x86-64.

static inline int CGLib_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

/// Checks that a descriptor for a wake-up is available: without one, `g_main_context_new` ends the process. Returns 0
/// or an errno.
static inline int CGLib_try_wakeup(void) {
    int first = eventfd(0, EFD_CLOEXEC), second = eventfd(0, EFD_CLOEXEC);
    int error = first < 0 || second < 0 ? errno : 0;
    if (first >= 0) close(first);
    if (second >= 0) close(second);
    return error;
}

/// Adds `descriptor` to the set, or changes its events if it is there: since the last call the descriptor may have been
/// closed, which removes it from the set, and its number reused. `CGLib_epoll_ready` returns `key`. Returns 0 or an
/// errno.
static inline int CGLib_epoll_put(int epoll, int descriptor, uint32_t events, uint32_t key) {
    struct epoll_event event = {.events = events, .data = {.u32 = key}};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0) return 0;
    if (errno != ENOENT) return errno;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno;
}

/// Fills `keys` with the keys of at most `capacity` (and 64) descriptors that are ready. Returns their number, or -1.
static inline int CGLib_epoll_ready(int epoll, uint32_t *keys, int capacity) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, capacity < 64 ? capacity : 64, 0);
    for (int i = 0; i < count; i++) keys[i] = events[i].data.u32;
    return count;
}

/// Removes `descriptor` from the set, if it is still there.
static inline void CGLib_epoll_drop(int epoll, int descriptor) {
    struct epoll_event event = {0};
    (void)epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event);
}

#endif
