// Datagrams in bulk, by calls of Linux that Swift cannot express.
#ifndef CNICE_DATAGRAMS_H
#define CNICE_DATAGRAMS_H

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Values of Linux that the headers of older systems lack.
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IP_UNICAST_IF
#define IP_UNICAST_IF 50
#endif
#ifndef IPV6_UNICAST_IF
#define IPV6_UNICAST_IF 76
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

/// `struct mmsghdr`. glibc declares it only with _GNU_SOURCE, which would define other types differently from Swift's
/// Glibc module.
typedef struct {
    struct msghdr msg_hdr;
    unsigned msg_len;
} CNice_header;

static inline void CNice_copy_option(int from, int to, int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(from, level, name, &value, &size) == 0) setsockopt(to, level, name, &value, size);
}

static inline void CNice_grow_buffer(int descriptor, int force, int name, int bytes) {
    if (setsockopt(descriptor, SOL_SOCKET, force, &bytes, sizeof bytes) != 0)
        setsockopt(descriptor, SOL_SOCKET, name, &bytes, sizeof bytes);
}

/// Opens a second socket on the address and port of `descriptor`, a bound UDP socket. From then on the kernel gives
/// datagrams that begin with 20...63 (DTLS, RFC 7983) to the new socket, and also those with `mark` in bytes 8 to 11
/// (answers to STUN requests that carry it in their transaction id, RFC 8489 §5). All others (STUN, TURN channels) go
/// to the old one. Returns the socket, or -errno when the system does not support this.
static inline int CNice_split(int descriptor, int buffer_bytes, uint32_t mark) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int type = 0, one = 1;
    socklen_t type_size = sizeof type;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0) return -errno;
    if (type != SOCK_DGRAM) return -EPROTOTYPE;
    if (getsockname(descriptor, (struct sockaddr *)&address, &size) != 0) return -errno;

    int twin = socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (twin < 0) return -errno;
    if (address.ss_family == AF_INET6) {
        CNice_copy_option(descriptor, twin, IPPROTO_IPV6, IPV6_V6ONLY);
        CNice_copy_option(descriptor, twin, IPPROTO_IPV6, IPV6_UNICAST_IF);
    } else {
        CNice_copy_option(descriptor, twin, IPPROTO_IP, IP_UNICAST_IF);
    }
    // The filter's result is an index in the order of binding: 0 is the old socket, 1 the new one.
    struct sock_filter code[] = {
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 0},
        {BPF_JMP | BPF_JGE | BPF_K, 0, 2, 20},
        {BPF_JMP | BPF_JGT | BPF_K, 1, 0, 63},
        {BPF_RET | BPF_K, 0, 0, 1},
        // A shorter datagram ends here, with the result 0.
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, 8},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, mark},
        {BPF_RET | BPF_K, 0, 0, 1},
        {BPF_RET | BPF_K, 0, 0, 0},
    };
    struct sock_fprog filter = {sizeof code / sizeof code[0], code};
    if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0
        || setsockopt(twin, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0
        || bind(twin, (struct sockaddr *)&address, size) != 0
        || setsockopt(twin, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) != 0) {
        int error = errno;
        close(twin);
        return -error;
    }
    CNice_grow_buffer(twin, SO_RCVBUFFORCE, SO_RCVBUF, buffer_bytes);
    CNice_grow_buffer(twin, SO_SNDBUFFORCE, SO_SNDBUF, buffer_bytes);
    return twin;
}

/// Whether several datagrams of one flow may come in one buffer (GRO).
static inline void CNice_set_aggregation(int descriptor, int on) {
    setsockopt(descriptor, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
}

enum { CNice_slots = 32 };

/// Headers of a receiving call, set up once.
typedef struct {
    CNice_header headers[CNice_slots];
    struct iovec buffers[CNice_slots];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control[CNice_slots];
    /// Of what came in slot i: bytes, and the size of each datagram in it (the last one may be shorter).
    int32_t length[CNice_slots];
    int32_t segment[CNice_slots];
} CNice_receiver;

/// Creates a receiver whose slots have `slot_size` bytes and lie `stride` bytes apart in `block`. Returns NULL without
/// memory. Free it with `CNice_receiver_free`.
static inline CNice_receiver *CNice_receiver_new(void *block, size_t slot_size, size_t stride) {
    CNice_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return NULL;
    for (int i = 0; i < CNice_slots; i++) {
        receiver->buffers[i] = (struct iovec){(char *)block + (size_t)i * stride, slot_size};
        receiver->headers[i].msg_hdr.msg_iov = &receiver->buffers[i];
        receiver->headers[i].msg_hdr.msg_iovlen = 1;
        receiver->headers[i].msg_hdr.msg_control = &receiver->control[i];
        receiver->headers[i].msg_hdr.msg_controllen = sizeof receiver->control[i];
    }
    return receiver;
}

static inline void CNice_receiver_free(CNice_receiver *receiver) { free(receiver); }

/// Reads into the first `slots` slots, without waiting. Returns the number of filled slots, or -errno.
static inline int CNice_receive(CNice_receiver *receiver, int descriptor, int slots) {
    int count = 1;
    if (slots == 1) {
        ssize_t length = recvmsg(descriptor, &receiver->headers[0].msg_hdr, MSG_DONTWAIT);
        if (length < 0) return -errno;
        receiver->headers[0].msg_len = (unsigned)length;
    } else {
        count = (int)syscall(SYS_recvmmsg, descriptor, receiver->headers, (unsigned)slots, MSG_DONTWAIT, NULL);
        if (count < 0) return -errno;
    }
    for (int i = 0; i < count; i++) {
        struct msghdr *header = &receiver->headers[i].msg_hdr;
        // A datagram that is too large for a slot is not for this connection.
        int length = header->msg_flags & MSG_TRUNC ? 0 : (int)receiver->headers[i].msg_len;
        int segment = length;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
            if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
                int size = 0;
                memcpy(&size, CMSG_DATA(c), sizeof size);
                if (size > 0) segment = size;
            }
        }
        receiver->length[i] = length;
        receiver->segment[i] = segment;
        header->msg_controllen = sizeof receiver->control[i];
        header->msg_flags = 0;
    }
    return count;
}

/// Datagrams that one call sends: `segment` bytes each, except that the last may be shorter.
typedef struct {
    void *bytes;
    int32_t length;
    int32_t segment;
} CNice_run;

/// Sends the runs in order, without waiting. Returns the number of runs sent, or -errno when the first one failed.
static inline int CNice_send(
    int descriptor, const struct sockaddr *to, socklen_t to_size, const CNice_run *runs, int count) {
    if (count == 1 && runs[0].length <= runs[0].segment) {
        size_t length = (size_t)runs[0].length;
        ssize_t sent = sendto(descriptor, runs[0].bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, to, to_size);
        return sent < 0 ? -errno : 1;
    }
    CNice_header headers[CNice_slots];
    struct iovec buffers[CNice_slots];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control[CNice_slots];
    if (count > CNice_slots) count = CNice_slots;
    for (int i = 0; i < count; i++) {
        buffers[i] = (struct iovec){runs[i].bytes, (size_t)runs[i].length};
        headers[i] = (CNice_header){
            .msg_hdr = {.msg_name = (void *)to, .msg_namelen = to_size, .msg_iov = &buffers[i], .msg_iovlen = 1}};
        if (runs[i].length <= runs[i].segment) continue;
        memset(&control[i], 0, sizeof control[i]);
        control[i].header.cmsg_level = IPPROTO_UDP;
        control[i].header.cmsg_type = UDP_SEGMENT;
        control[i].header.cmsg_len = CMSG_LEN(sizeof(uint16_t));
        uint16_t segment = (uint16_t)runs[i].segment;
        memcpy(CMSG_DATA(&control[i].header), &segment, sizeof segment);
        headers[i].msg_hdr.msg_control = &control[i];
        headers[i].msg_hdr.msg_controllen = sizeof control[i];
    }
    int sent = (int)syscall(SYS_sendmmsg, descriptor, headers, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

#endif
