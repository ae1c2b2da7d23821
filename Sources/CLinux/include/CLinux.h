// Functions of Linux that Swift's Glibc module does not export.
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

/// An unpacked `struct epoll_event`: on x86-64 the original is packed, which Swift cannot lay out.
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

/// Returns the number of bytes that malloc has allocated and not freed, in all arenas; 0 with another allocator.
static inline size_t CLinux_allocated_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/// Keeps up to `bytes` of freed memory in each arena of malloc, instead of returning it to the system and taking it
/// again, page by page, a moment later. For programs that take and free blocks of up to half of that all the time. Only
/// their speed depends on it: a malloc that refuses the hint, or has none, works as before.
static inline void CLinux_keep_freed_memory(int bytes) {
    (void)mallopt(M_MMAP_THRESHOLD, bytes / 2);
    (void)mallopt(M_TRIM_THRESHOLD, bytes);
}

/// Raises the soft limit of open descriptors to the hard limit, or to `at_most` if that is lower. Never lowers it.
/// `at_most` is for libraries that make a table with an entry for every possible descriptor. Returns the soft limit
/// after the call, or 0 if it cannot be read.
uint64_t CLinux_raise_descriptor_limit(uint64_t at_most);

typedef struct {
    char interface[16];
    uint8_t address[4];
    int prefix_length;
    unsigned flags;
} CLinux_ipv4_address;

/// Reads the IPv4 addresses of this machine's interfaces without netlink, at most `capacity`. Returns their number, or
/// -1 if that is refused, too.
int CLinux_ipv4_addresses(CLinux_ipv4_address *addresses, int capacity);

/// Returns the flags (IFF_…) of an interface, read without netlink; 0 if they are unknown.
unsigned CLinux_interface_flags(const char *interface);

/// Opens a descriptor that is readable when an address, a link or a route of this network namespace has changed.
/// Returns
/// -1 if that is impossible.
int CLinux_netlink_open(void);

/// Discards the messages that wait. They only mean that something has changed; so does ENOBUFS.
void CLinux_netlink_drain(int descriptor);

/// Opens a descriptor that is readable when the wall clock has jumped, as it does when this machine resumes from a
/// sleep. Returns -1 if that is impossible (before Linux 3.0).
int CLinux_clock_jumps_open(void);

/// Makes the descriptor readable again at the next jump.
void CLinux_clock_jumps_rearm(int descriptor);

/// Renames within a folder, and fails with EEXIST instead of replacing what has the new name; EINVAL or ENOSYS where
/// the file system, or the kernel, cannot promise it.
int CLinux_rename_noreplace(int folder, const char *name, const char *target);

#endif
