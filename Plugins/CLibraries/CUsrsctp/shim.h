// usrsctp for Swift: its header, functions around structures that Swift cannot import, and a fast CRC32c in place of
// usrsctp's slow one.
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <usrsctp.h>

// MARK: CRC32c (RFC 9260 Appendix A)

#if defined(__x86_64__)
#define CUSRSCTP_HARDWARE_CRC __attribute__((target("sse4.2")))
static inline int CUsrsctp_has_crc_instruction(void) { return __builtin_cpu_supports("sse4.2") != 0; }
CUSRSCTP_HARDWARE_CRC static inline uint32_t CUsrsctp_crc_hardware(uint32_t crc, const uint8_t *bytes, size_t count) {
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count; count--, bytes++) crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define CUSRSCTP_HARDWARE_CRC __attribute__((target("crc")))
static inline int CUsrsctp_has_crc_instruction(void) { return (getauxval(AT_HWCAP) & (1UL << 7)) != 0; }
CUSRSCTP_HARDWARE_CRC static inline uint32_t CUsrsctp_crc_hardware(uint32_t crc, const uint8_t *bytes, size_t count) {
    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __builtin_arm_crc32cd(crc, word);
    }
    for (; count; count--, bytes++) crc = __builtin_arm_crc32cb(crc, *bytes);
    return crc;
}
#else
static inline int CUsrsctp_has_crc_instruction(void) { return 0; }
static inline uint32_t CUsrsctp_crc_hardware(uint32_t crc, const uint8_t *bytes, size_t count) { return crc; }
#endif

/// Fills the checksum of an SCTP packet in place; its bytes 8 to 11 must be zero. `table` is NULL where the processor
/// has the instruction, else 256 words made by `CUsrsctp_make_crc_table`.
static inline void CUsrsctp_fill_checksum(void *packet, size_t count, const uint32_t *table) {
    uint32_t crc = 0xFFFFFFFF;
    if (count < 12) return;
    if (table) {
        const uint8_t *bytes = (const uint8_t *)packet;
        for (size_t i = 0; i < count; i++) crc = (crc >> 8) ^ table[(crc ^ bytes[i]) & 0xFF];
    } else {
        crc = CUsrsctp_crc_hardware(crc, (const uint8_t *)packet, count);
    }
    crc = ~crc;
    uint8_t *sum = (uint8_t *)packet + 8;
    sum[0] = (uint8_t)crc;
    sum[1] = (uint8_t)(crc >> 8);
    sum[2] = (uint8_t)(crc >> 16);
    sum[3] = (uint8_t)(crc >> 24);
}

static inline void CUsrsctp_make_crc_table(uint32_t *table) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78 & (0 - (crc & 1)));
        table[i] = crc;
    }
}

// MARK: Addresses: an integer identifies an association, and never becomes a pointer

static inline struct sockaddr_conn CUsrsctp_address(uintptr_t id, uint16_t port) {
    struct sockaddr_conn address;
    memset(&address, 0, sizeof address);
    address.sconn_family = AF_CONN;
    address.sconn_port = htons(port);
    address.sconn_addr = (void *)id;
    return address;
}

static inline int CUsrsctp_bind(struct socket *so, uintptr_t id, uint16_t port) {
    struct sockaddr_conn address = CUsrsctp_address(id, port);
    return usrsctp_bind(so, (struct sockaddr *)&address, sizeof address);
}

/// Returns 0 when the handshake has begun, otherwise -1.
static inline int CUsrsctp_connect(struct socket *so, uintptr_t id, uint16_t port) {
    struct sockaddr_conn address = CUsrsctp_address(id, port);
    if (usrsctp_connect(so, (struct sockaddr *)&address, sizeof address) == 0) return 0;
    return errno == EINPROGRESS ? 0 : -1;
}

// MARK: Options

static inline int CUsrsctp_set_int(struct socket *so, int level, int option, int value) {
    return usrsctp_setsockopt(so, level, option, &value, sizeof value);
}

/// Makes `usrsctp_close` abort the association at once.
static inline int CUsrsctp_abort_on_close(struct socket *so) {
    struct linger linger = {1, 0};
    return usrsctp_setsockopt(so, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static inline int CUsrsctp_set_streams(struct socket *so, uint16_t outgoing, uint16_t incoming) {
    struct sctp_initmsg init;
    memset(&init, 0, sizeof init);
    init.sinit_num_ostreams = outgoing;
    init.sinit_max_instreams = incoming;
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof init);
}

static inline int CUsrsctp_enable_stream_reset(struct socket *so) {
    struct sctp_assoc_value value = {SCTP_ALL_ASSOC, SCTP_ENABLE_RESET_STREAM_REQ | SCTP_ENABLE_CHANGE_ASSOC_REQ};
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_ENABLE_STREAM_RESET, &value, sizeof value);
}

static inline int CUsrsctp_subscribe(struct socket *so, uint16_t type) {
    struct sctp_event event;
    memset(&event, 0, sizeof event);
    event.se_assoc_id = SCTP_ALL_ASSOC;
    event.se_type = type;
    event.se_on = 1;
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event);
}

/// Turns off usrsctp's heartbeats, its path MTU discovery and its limit of retransmissions per path, and fixes the MTU
/// (usrsctp's packets are 12 bytes larger). `id` and `port` identify the other side of an association. With an `id` of
/// 0 the settings apply to later associations.
static inline int CUsrsctp_set_path(struct socket *so, uintptr_t id, uint16_t port, uint32_t mtu) {
    struct sctp_paddrparams path;
    memset(&path, 0, sizeof path);
    if (id != 0) {
        struct sockaddr_conn address = CUsrsctp_address(id, port);
        memcpy(&path.spp_address, &address, sizeof address);
    }
    path.spp_flags = SPP_PMTUD_DISABLE | SPP_HB_DISABLE;
    path.spp_pathmtu = mtu;
    path.spp_pathmaxrxt = 0xFFFF;
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof path);
}

/// Sets the number of retransmissions after which the association ends.
static inline int CUsrsctp_set_association_limit(struct socket *so, uint16_t limit) {
    struct sctp_assocparams params;
    memset(&params, 0, sizeof params);
    params.sasoc_asocmaxrxt = limit;
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_ASSOCINFO, &params, sizeof params);
}

/// Sets the retransmission timeouts, in milliseconds.
static inline int CUsrsctp_set_timeouts(struct socket *so, uint32_t initial, uint32_t minimum, uint32_t maximum) {
    struct sctp_rtoinfo info;
    memset(&info, 0, sizeof info);
    info.srto_initial = initial;
    info.srto_min = minimum;
    info.srto_max = maximum;
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_RTOINFO, &info, sizeof info);
}

/// Sets the maximum number of bytes of a message in one chunk, for messages sent from now on. 0 means as much as a
/// packet holds.
static inline int CUsrsctp_set_chunk(struct socket *so, uint32_t payload) {
    // usrsctp adds the headers of IPv4, SCTP and DATA (48 bytes), and takes off those of SCTP and DATA (28).
    struct sctp_assoc_value value = {SCTP_FUTURE_ASSOC, payload ? payload - 20 : 0};
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_MAXSEG, &value, sizeof value);
}

/// Closes this side's direction of a stream once its queue is empty (RFC 6525 §4.1).
static inline int CUsrsctp_reset_stream(struct socket *so, uint16_t stream) {
    union {
        struct sctp_reset_streams header;
        uint8_t bytes[sizeof(struct sctp_reset_streams) + sizeof(uint16_t)];
    } request;
    memset(&request, 0, sizeof request);
    request.header.srs_flags = SCTP_STREAM_RESET_OUTGOING;
    request.header.srs_number_streams = 1;
    memcpy(request.bytes + sizeof(struct sctp_reset_streams), &stream, sizeof stream);
    return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_RESET_STREAMS, &request, sizeof request);
}

// MARK: State

/// Returns the number of bytes that were sent and are not acknowledged, with chunk headers; -1 without an association.
static inline int64_t CUsrsctp_buffered(struct socket *so) {
    // SCTP_GET_SNDBUF_USE and its struct are not in the installed header; the numbers are those of the wire API.
    struct { sctp_assoc_t association; uint32_t send, receive; } use = {0, 0, 0};
    socklen_t length = sizeof use;
    if (usrsctp_getsockopt(so, IPPROTO_SCTP, 0x1101, &use, &length) != 0) return -1;
    return use.send;
}

/// Reads the association's status. Returns 0, or -1 when there is none.
static inline int CUsrsctp_status(struct socket *so, struct sctp_status *status) {
    socklen_t length = sizeof *status;
    memset(status, 0, sizeof *status);
    return usrsctp_getsockopt(so, IPPROTO_SCTP, SCTP_STATUS, status, &length);
}

/// Returns the association's state (SCTP_COOKIE_ECHOED, …), or -1.
static inline int32_t CUsrsctp_state(struct socket *so) {
    struct sctp_status status;
    return CUsrsctp_status(so, &status) == 0 ? status.sstat_state : -1;
}

/// Returns the smoothed round-trip time in milliseconds, or -1.
static inline int64_t CUsrsctp_round_trip(struct socket *so) {
    struct sctp_status status;
    return CUsrsctp_status(so, &status) == 0 ? (int64_t)status.sstat_primary.spinfo_srtt : -1;
}

/// Returns the number of streams for sending, or 0.
static inline uint16_t CUsrsctp_outgoing_streams(struct socket *so) {
    struct sctp_status status;
    socklen_t length = sizeof status;
    memset(&status, 0, sizeof status);
    if (usrsctp_getsockopt(so, IPPROTO_SCTP, SCTP_STATUS, &status, &length) != 0) return 0;
    return status.sstat_outstrms;
}

// MARK: Data

/// The options of sending a message. Each channel has its own.
struct CUsrsctp_delivery {
    uint16_t stream;
    uint16_t unordered;
    /// SCTP_PR_SCTP_NONE, _RTX, _TTL
    uint16_t policy;
    uint32_t limit;
};

/// Sends a message. Returns 0 or an errno.
///
/// `restarts_timer` works around a fault of usrsctp 0.9.5: as long as no unacknowledged message has a policy, an
/// acknowledgement does not restart the retransmission timer, as RFC 9260 §6.3.2 R3 requires, and when the timer
/// expires all data in flight counts as lost. With a policy the timer is restarted. The policy that is set here never
/// drops a message.
static inline int CUsrsctp_send(
    struct socket *so, const void *bytes, size_t count, const struct CUsrsctp_delivery *how, uint32_t protocol,
    int restarts_timer
) {
    struct sctp_sendv_spa spa;
    memset(&spa, 0, sizeof spa);
    spa.sendv_flags = SCTP_SEND_SNDINFO_VALID;
    spa.sendv_sndinfo.snd_sid = how->stream;
    spa.sendv_sndinfo.snd_ppid = htonl(protocol);
    spa.sendv_sndinfo.snd_flags = SCTP_EOR | (how->unordered ? SCTP_UNORDERED : 0);
    if (how->policy != SCTP_PR_SCTP_NONE) {
        spa.sendv_flags |= SCTP_SEND_PRINFO_VALID;
        spa.sendv_prinfo.pr_policy = how->policy;
        spa.sendv_prinfo.pr_value = how->limit;
    } else if (restarts_timer) {
        spa.sendv_flags |= SCTP_SEND_PRINFO_VALID;
        spa.sendv_prinfo.pr_policy = SCTP_PR_SCTP_RTX;
        spa.sendv_prinfo.pr_value = UINT32_MAX;
    }
    if (usrsctp_sendv(so, bytes, count, NULL, 0, &spa, sizeof spa, SCTP_SENDV_SPA, 0) < 0) return errno;
    return 0;
}

/// The result of `CUsrsctp_receive`.
struct CUsrsctp_received {
    uint32_t protocol;
    uint16_t stream;
    uint8_t is_notification;
    /// Whether the message is complete.
    uint8_t is_end;
};

/// Reads a message, or a part of one. Returns the number of bytes, 0 at the end of the association, or -errno.
static inline ssize_t CUsrsctp_receive(
    struct socket *so, void *bytes, size_t capacity, struct CUsrsctp_received *what
) {
    struct sctp_rcvinfo info;
    socklen_t info_length = sizeof info, address_length = 0;
    unsigned int info_type = SCTP_RECVV_NOINFO;
    int flags = 0;
    ssize_t count = usrsctp_recvv(so, bytes, capacity, NULL, &address_length, &info, &info_length, &info_type, &flags);
    if (count < 0) return -(ssize_t)errno;
    what->is_notification = (flags & MSG_NOTIFICATION) != 0;
    what->is_end = (flags & MSG_EOR) != 0;
    what->stream = info_type == SCTP_RECVV_RCVINFO ? info.rcv_sid : 0;
    what->protocol = info_type == SCTP_RECVV_RCVINFO ? ntohl(info.rcv_ppid) : 0;
    return count;
}
