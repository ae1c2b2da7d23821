// What is needed of Linux that Swift's Glibc module does not export.
#ifndef CLINUX_H
#define CLINUX_H

#include <malloc.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

static inline int CLinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int CLinux_epoll_ctl(int epoll, int operation, int descriptor, uint32_t events, uint64_t key) {
    struct epoll_event event = {.events = events, .data = {.u64 = key}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

/// `struct epoll_event` is packed on x86-64, which Swift cannot lay out: copy into a plain one.
typedef struct { uint64_t key; uint32_t events; } CLinux_event;

static inline int CLinux_epoll_wait(int epoll, CLinux_event *events, int capacity, int timeout_ms) {
    struct epoll_event ready[64];
    int count = epoll_wait(epoll, ready, capacity < 64 ? capacity : 64, timeout_ms);
    for (int i = 0; i < count; i++) {
        events[i].key = ready[i].data.u64;
        events[i].events = ready[i].events;
    }
    return count;
}

static inline int CLinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline void CLinux_set_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

/// Bytes that malloc has given out and not got back, of all arenas; 0 where another allocator stands in for it.
static inline size_t CLinux_allocated_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/// Raises the soft limit of open descriptors to the hard limit, or to `at_most` where that is lower; never lowers it. Libraries that
/// make a table with a place for every possible descriptor are the reason for `at_most`. Returns the soft limit that holds now; 0: it
/// cannot be read.
uint64_t CLinux_raise_descriptor_limit(uint64_t at_most);

typedef struct {
    char interface[16];
    uint8_t address[4];
    int prefix_length;
    unsigned flags;
} CLinux_ipv4_address;

/// The IPv4 addresses of this machine's interfaces, at most `capacity` of them, asked for without netlink; -1: even that is refused.
int CLinux_ipv4_addresses(CLinux_ipv4_address *addresses, int capacity);

/// The flags (IFF_…) of an interface, asked for without netlink; 0: not known.
unsigned CLinux_interface_flags(const char *interface);

/// A descriptor that is readable when an address, a link or a route of this network namespace has changed; -1 where there is none.
int CLinux_netlink_open(void);

/// Throws away what waits: the messages only say that something has changed (ENOBUFS says so too).
void CLinux_netlink_drain(int descriptor);

/// A descriptor that is readable when the wall clock has jumped, as it does when this machine resumes from a sleep; -1 where there is
/// none (before Linux 3.0).
int CLinux_clock_jumps_open(void);

/// Waits for the next jump.
void CLinux_clock_jumps_rearm(int descriptor);

#endif
