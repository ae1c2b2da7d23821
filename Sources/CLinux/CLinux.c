#include "CLinux.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

// netdevice(7)
int CLinux_ipv4_addresses(CLinux_ipv4_address *addresses, int capacity) {
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    struct ifreq *requests = calloc((size_t)capacity, sizeof *requests);
    struct ifconf list = {.ifc_len = (int)((size_t)capacity * sizeof *requests), .ifc_req = requests};
    int count = -1;
    if (requests != NULL && ioctl(descriptor, SIOCGIFCONF, &list) == 0) {
        count = 0;
        for (int i = 0; i < list.ifc_len / (int)sizeof *requests; i++) {
            struct ifreq request = requests[i];
            if (request.ifr_addr.sa_family != AF_INET) continue;
            CLinux_ipv4_address *found = &addresses[count++];
            memset(found, 0, sizeof *found);
            memcpy(found->interface, request.ifr_name, sizeof found->interface - 1);
            memcpy(found->address, &((struct sockaddr_in *)&request.ifr_addr)->sin_addr, sizeof found->address);
            found->prefix_length = -1;
            // The kernel looks for this very address on the interface.
            if (ioctl(descriptor, SIOCGIFNETMASK, &request) == 0) {
                struct sockaddr_in *mask = (struct sockaddr_in *)&request.ifr_netmask;
                found->prefix_length = __builtin_popcount(mask->sin_addr.s_addr);
            }
            if (ioctl(descriptor, SIOCGIFFLAGS, &request) == 0) found->flags = (unsigned short)request.ifr_flags;
        }
    }
    free(requests);
    close(descriptor);
    return count;
}

unsigned CLinux_interface_flags(const char *interface) {
    struct ifreq request = {0};
    strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) descriptor = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return 0;
    unsigned flags = ioctl(descriptor, SIOCGIFFLAGS, &request) == 0 ? (unsigned short)request.ifr_flags : 0;
    close(descriptor);
    return flags;
}

int CLinux_netlink_open(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE};
    if (descriptor >= 0 && bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

void CLinux_netlink_drain(int descriptor) {
    char bytes[16384];
    for (int i = 0; i < 64; i++) {
        if (recv(descriptor, bytes, sizeof bytes, MSG_DONTWAIT) < 0) break;
    }
}

uint64_t CLinux_raise_descriptor_limit(uint64_t at_most) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    struct rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max < at_most ? limit.rlim_max : at_most;
    if (raised.rlim_cur <= limit.rlim_cur || setrlimit(RLIMIT_NOFILE, &raised) != 0) return limit.rlim_cur;
    return raised.rlim_cur;
}

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET (1 << 1)
#endif

// The time itself never comes (year 2242): the kernel cancels the timer when the clock jumps, and says so by making it
// readable.
static int arm(int descriptor) {
    struct itimerspec never = {.it_value = {.tv_sec = 8589934592}};
    return timerfd_settime(descriptor, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, 0);
}

int CLinux_clock_jumps_open(void) {
    int descriptor = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (descriptor >= 0 && arm(descriptor) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

void CLinux_clock_jumps_rearm(int descriptor) {
    uint64_t expirations;
    // Fails with ECANCELED after a jump.
    if (read(descriptor, &expirations, sizeof expirations) < 0) { /* nothing to do */ }
    arm(descriptor);
}

// renameat2(2): RENAME_NOREPLACE is 1; the C library's own declaration needs _GNU_SOURCE.
int CLinux_rename_noreplace(int folder, const char *name, const char *target) {
    return (int)syscall(SYS_renameat2, folder, name, folder, target, 1u);
}
