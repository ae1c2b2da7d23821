// GLib for Swift: the headers, and what Swift cannot import of them (macros, variadics).
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

// The private epoll set of the GLib contexts of a loop. `struct epoll_event` is packed on x86-64, which Swift cannot lay out.

static inline int CGLib_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

/// Whether a descriptor for a wake-up can be had: `g_main_context_new` ends the process where not. 0, or an errno.
static inline int CGLib_try_wakeup(void) {
    int first = eventfd(0, EFD_CLOEXEC), second = eventfd(0, EFD_CLOEXEC);
    int error = first < 0 || second < 0 ? errno : 0;
    if (first >= 0) close(first);
    if (second >= 0) close(second);
    return error;
}

/// Puts `descriptor` into the set or changes its events, whichever is needed: a descriptor may have been closed (which takes
/// it out of the set) and its number used again since the last call. `key` is what `CGLib_epoll_ready` tells. 0, or an errno.
static inline int CGLib_epoll_put(int epoll, int descriptor, uint32_t events, uint32_t key) {
    struct epoll_event event = {.events = events, .data = {.u32 = key}};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0) return 0;
    if (errno != ENOENT) return errno;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno;
}

/// The keys of up to `capacity` (at most 64) descriptors that are ready. How many, or -1.
static inline int CGLib_epoll_ready(int epoll, uint32_t *keys, int capacity) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, capacity < 64 ? capacity : 64, 0);
    for (int i = 0; i < count; i++) keys[i] = events[i].data.u32;
    return count;
}

/// Takes `descriptor` out of the set, if it is still there.
static inline void CGLib_epoll_drop(int epoll, int descriptor) {
    struct epoll_event event = {0};
    (void)epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event);
}

#endif
