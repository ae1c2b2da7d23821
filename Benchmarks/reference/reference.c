// The C reference: what SCTP over DTLS over UDP costs on this machine with nothing around it.
//
// Two processes on 127.0.0.1, one thread and one poll loop each: a connected UDP socket, OpenSSL's DTLS 1.2 with an
// ECDSA P-256 certificate, usrsctp over AF_CONN. No ICE, no signaling, no binding, no second thread. `room bench` runs
// it in the same minute as its own scenarios, because only the ratio of two numbers from one machine at one time says
// something.
//
//     reference [--json] [--seconds S] [rtt | throughput BYTES | small]...      without a scenario: all of them
//
// rtt         64 B there and back, one at a time, after a warm-up: p50 and p99 of the round trips
// throughput  messages of BYTES one way: MB/s as the receiver counts them, CPU seconds per GB of both processes
// small       64 B one way: messages/s, CPU microseconds per message of both processes
//
// Exit: 0 done, 1 something failed (said on standard error), 2 usage.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <usrsctp.h>

#include "histogram.h"

enum {
    pathMTU = 1200,
    smallMessage = 64,
    largestMessage = 1 << 20,
    warmUpRounds = 500,
    measuredRounds = 10000,
    binaryPPID = 53,      // RFC 8831 §8: WebRTC Binary
    handshakeSeconds = 5,
    drainSeconds = 5,
};

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "reference: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double processorSeconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// ----------------------------------------------------------------------------------------------------
// What the two processes share

/// The measuring process gives a command, the other one carries it out, fills in what it knows and acknowledges it.
typedef enum { commandEcho = 1, commandCount, commandReport, commandQuit } Command;

typedef struct {
    /// The command's number times 8, plus the command, so that the same command twice is seen as two.
    _Atomic uint32_t requested, acknowledged;
    /// Of the receiving process; written before it acknowledges.
    double processorSeconds, firstArrival, lastArrival;
    _Atomic uint64_t messages;
    uint64_t bytes;
} Shared;

static Shared *shared;

// ----------------------------------------------------------------------------------------------------
// One end: socket, DTLS, SCTP. One of each per process, as usrsctp's state is per process too.

static int udp = -1;
static SSL *tls;
static struct socket *sctp;
static uint64_t lastTick;
static unsigned char incoming[largestMessage];
static size_t incomingLength;
static unsigned char outgoing[largestMessage];
static void (*onMessage)(const unsigned char *bytes, size_t length);

/// usrsctp's output; called with its locks held. A datagram that the socket does not take is a lost datagram.
static int sctpOutput(void *address, void *buffer, size_t length, uint8_t tos, uint8_t dontFragment) {
    (void)address, (void)tos, (void)dontFragment;
    ERR_clear_error();
    SSL_write(tls, buffer, (int)length);
    return 0;
}

static void readMessages(void) {
    for (;;) {
        struct sctp_rcvinfo info;
        socklen_t infoLength = sizeof info, fromLength = 0;
        unsigned int infoType = 0;
        int flags = 0;
        ssize_t count = usrsctp_recvv(
            sctp, incoming + incomingLength, sizeof incoming - incomingLength, NULL, &fromLength, &info, &infoLength,
            &infoType, &flags);
        if (count <= 0) return;
        if (flags & MSG_NOTIFICATION) continue;
        incomingLength += (size_t)count;
        if (!(flags & MSG_EOR)) {
            if (incomingLength == sizeof incoming) fail("a message of more than %d bytes came", largestMessage);
            continue;
        }
        size_t length = incomingLength;
        incomingLength = 0;
        if (onMessage) onMessage(incoming, length);
    }
}

/// One turn of the loop: waits up to `milliseconds` for datagrams, takes up to 64 of them in, runs SCTP's timers.
static void turn(int milliseconds) {
    if (!SSL_pending(tls)) {
        struct pollfd descriptor = {udp, POLLIN, 0};
        poll(&descriptor, 1, milliseconds);
    }
    static unsigned char datagram[65536];
    for (int i = 0; i < 64; i++) {
        ERR_clear_error();
        int length = SSL_read(tls, datagram, sizeof datagram);
        if (length <= 0) break;
        usrsctp_conninput(&udp, datagram, (size_t)length, 0);
    }
    if (sctp) readMessages();
    uint64_t tick = (uint64_t)(now() * 1000);
    if (tick - lastTick >= 10) {
        usrsctp_handle_timers((uint32_t)(tick - lastTick));
        lastTick = tick;
    }
}

/// False: the send buffer is full.
static bool sendMessage(size_t length) {
    struct sctp_sendv_spa how = {.sendv_flags = SCTP_SEND_SNDINFO_VALID};
    how.sendv_sndinfo.snd_ppid = htonl(binaryPPID);
    how.sendv_sndinfo.snd_flags = SCTP_EOR;
    if (usrsctp_sendv(sctp, outgoing, length, NULL, 0, &how, sizeof how, SCTP_SENDV_SPA, 0) >= 0) return true;
    if (errno != EWOULDBLOCK && errno != EAGAIN) fail("usrsctp_sendv: %s", strerror(errno));
    return false;
}

static void startDTLS(bool isServer, struct sockaddr_in *peer) {
    SSL_CTX *context = SSL_CTX_new(isServer ? DTLS_server_method() : DTLS_client_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    if (!context || !key || !certificate) fail("OpenSSL could not make a context, a key or a certificate");
    X509_gmtime_adj(X509_get_notBefore(certificate), 0);
    X509_gmtime_adj(X509_get_notAfter(certificate), 24 * 3600);
    X509_set_pubkey(certificate, key);
    if (!X509_sign(certificate, key, EVP_sha256())) fail("OpenSSL could not sign the certificate");
    SSL_CTX_use_certificate(context, certificate);
    SSL_CTX_use_PrivateKey(context, key);

    tls = SSL_new(context);
    SSL_set_options(tls, SSL_OP_NO_QUERY_MTU);
    DTLS_set_link_mtu(tls, 1400);
    BIO *bio = BIO_new_dgram(udp, BIO_NOCLOSE);
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, peer);
    SSL_set_bio(tls, bio, bio);
    if (isServer) SSL_set_accept_state(tls); else SSL_set_connect_state(tls);
    for (double deadline = now() + handshakeSeconds; SSL_do_handshake(tls) != 1;) {
        if (now() > deadline) fail("no DTLS handshake within %d s", handshakeSeconds);
        struct pollfd descriptor = {udp, POLLIN, 0};
        poll(&descriptor, 1, 10);
        DTLSv1_handle_timeout(tls);
    }
}

static void configureSCTP(void) {
    usrsctp_init_nothreads(0, sctpOutput, NULL);
    usrsctp_sysctl_set_sctp_sendspace(1 << 20);
    usrsctp_sysctl_set_sctp_recvspace(1 << 20);
    usrsctp_sysctl_set_sctp_max_chunks_on_queue(10240);
    usrsctp_sysctl_set_sctp_initial_cwnd(10);
    usrsctp_sysctl_set_sctp_max_burst_default(10);
    usrsctp_sysctl_set_sctp_rto_min_default(200);
    usrsctp_sysctl_set_sctp_rto_max_default(10000);
    usrsctp_sysctl_set_sctp_assoc_rtx_max_default(5);
    usrsctp_sysctl_set_sctp_path_rtx_max_default(5);
    usrsctp_sysctl_set_sctp_heartbeat_interval_default(10000);
    usrsctp_sysctl_set_sctp_delayed_sack_time_default(20);
    usrsctp_sysctl_set_sctp_ecn_enable(0);
    usrsctp_sysctl_set_sctp_asconf_enable(0);
    usrsctp_sysctl_set_sctp_auth_enable(0);
}

static void set(int option, const void *value, socklen_t length) {
    if (usrsctp_setsockopt(sctp, IPPROTO_SCTP, option, value, length))
        fail("SCTP option %d: %s", option, strerror(errno));
}

static void startSCTP(void) {
    configureSCTP();
    usrsctp_register_address(&udp);
    lastTick = (uint64_t)(now() * 1000);
    struct socket *new = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
    if (!new) fail("usrsctp_socket: %s", strerror(errno));
    sctp = new;
    usrsctp_set_non_blocking(sctp, 1);
    set(SCTP_NODELAY, &(int){1}, sizeof(int));

    // Both ends connect at once, as RFC 8831 has it.
    struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(5000), .sconn_addr = &udp};
    if (usrsctp_bind(sctp, (struct sockaddr *)&address, sizeof address)) fail("usrsctp_bind: %s", strerror(errno));
    struct sctp_paddrparams path = {.spp_flags = SPP_PMTUD_DISABLE, .spp_pathmtu = pathMTU};
    set(SCTP_PEER_ADDR_PARAMS, &path, sizeof path);
    if (usrsctp_connect(sctp, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("usrsctp_connect: %s", strerror(errno));
    for (double deadline = now() + handshakeSeconds;;) {
        turn(2);
        struct sctp_status status = {0};
        socklen_t length = sizeof status;
        if (!usrsctp_getsockopt(sctp, IPPROTO_SCTP, SCTP_STATUS, &status, &length)
            && status.sstat_state == SCTP_ESTABLISHED)
            break;
        if (now() > deadline) fail("no SCTP association within %d s", handshakeSeconds);
    }
    memcpy(&path.spp_address, &address, sizeof address);
    set(SCTP_PEER_ADDR_PARAMS, &path, sizeof path);
}

// ----------------------------------------------------------------------------------------------------
// The other process: echoes or counts

static void echo(const unsigned char *bytes, size_t length) {
    (void)bytes;
    sendMessage(length);
}

static void count(const unsigned char *bytes, size_t length) {
    (void)bytes;
    shared->lastArrival = now();
    if (shared->firstArrival == 0) shared->firstArrival = shared->lastArrival;
    shared->bytes += length;
    atomic_fetch_add_explicit(&shared->messages, 1, memory_order_relaxed);
}

static void serve(void) {
    for (;;) {
        uint32_t request = atomic_load(&shared->requested);
        if (request != atomic_load(&shared->acknowledged)) {
            switch ((Command)(request & 7)) {
                case commandEcho:
                    onMessage = echo;
                    break;
                case commandCount:
                    onMessage = count;
                    shared->bytes = 0;
                    shared->firstArrival = shared->lastArrival = 0;
                    atomic_store(&shared->messages, 0);
                    shared->processorSeconds = processorSeconds();
                    break;
                case commandReport:
                    shared->processorSeconds = processorSeconds() - shared->processorSeconds;
                    break;
                case commandQuit:
                    _exit(0);
            }
            atomic_store(&shared->acknowledged, request);
        }
        turn(10);
    }
}

// ----------------------------------------------------------------------------------------------------
// The measuring process

static pid_t otherProcess;
static bool json;
static double seconds = 3;

static void checkOtherProcess(void) {
    if (waitpid(otherProcess, NULL, WNOHANG) != 0) fail("the other process ended");
}

static void command(Command command) {
    uint32_t request = ((atomic_load(&shared->requested) >> 3) + 1) << 3 | command;
    atomic_store(&shared->requested, request);
    if (command == commandQuit) return;
    while (atomic_load(&shared->acknowledged) != request) {
        turn(1);
        checkOtherProcess();
    }
}

static double roundTrips[warmUpRounds + measuredRounds], sentAt;
static int finishedRounds;

static void finishRound(const unsigned char *bytes, size_t length) {
    (void)bytes, (void)length;
    double time = now();
    roundTrips[finishedRounds++] = time - sentAt;
    if (finishedRounds == warmUpRounds + measuredRounds) return;
    sentAt = time;
    sendMessage(smallMessage);
}

static int ascending(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return difference < 0 ? -1 : difference > 0;
}

static void measureRTT(void) {
    command(commandEcho);
    onMessage = finishRound;
    finishedRounds = 0;
    sentAt = now();
    sendMessage(smallMessage);
    while (finishedRounds < warmUpRounds + measuredRounds) {
        turn(100);
        if (now() - sentAt > drainSeconds) fail("no answer within %d s", drainSeconds);
    }
    onMessage = NULL;
    double *measured = roundTrips + warmUpRounds;
    qsort(measured, measuredRounds, sizeof *measured, ascending);
    double p50 = measured[measuredRounds / 2] * 1e6, p99 = measured[measuredRounds * 99 / 100] * 1e6;
    const char *format = json
        ? "{\"scenario\":\"rtt\",\"size\":%d,\"rounds\":%d,\"p50_us\":%.2f,\"p99_us\":%.2f,"
        : "rtt %d B, %d rounds: p50 %.1f us, p99 %.1f us\n";
    printf(format, smallMessage, measuredRounds, p50, p99);
    if (!json) return;
    printHistogram(measured, measuredRounds);
    printf("}\n");
}

static void measureOneWay(const char *scenario, size_t size) {
    command(commandCount);
    double processor = processorSeconds(), end = now() + seconds;
    uint64_t sent = 0;
    while (now() < end) {
        int burst = 0;
        while (burst < 64 && sendMessage(size)) burst++;
        sent += (uint64_t)burst;
        turn(burst < 64 ? 1 : 0);
    }
    for (double deadline = now() + drainSeconds; atomic_load(&shared->messages) < sent;) {
        turn(1);
        checkOtherProcess();
        if (now() > deadline) break;
    }
    processor = processorSeconds() - processor;
    command(commandReport);

    uint64_t messages = atomic_load(&shared->messages);
    double duration = shared->lastArrival - shared->firstArrival;
    if (messages != sent) fail("%s %zu B: %lu sent, %lu came", scenario, size, sent, messages);
    if (duration <= 0) fail("%s %zu B: too few messages within %g s", scenario, size, seconds);
    double cpu = processor + shared->processorSeconds, bytes = (double)shared->bytes;
    const char *format = json
        ? "{\"scenario\":\"%s\",\"size\":%zu,\"seconds\":%.3f,\"messages\":%lu,\"mb_per_s\":%.2f,\"cpu_s_per_gb\":%.3f,"
          "\"msg_per_s\":%.0f,\"cpu_us_per_msg\":%.3f}\n"
        : "%s %zu B, %.1f s, %lu messages: %.1f MB/s, %.2f CPU s/GB, %.0f messages/s, %.2f CPU us/message\n";
    printf(
        format, scenario, size, duration, messages, bytes / 1e6 / duration, cpu / (bytes / 1e9), messages / duration,
        cpu * 1e6 / messages);
}

/// Runs the scenario that begins at `arguments[0]`, or only checks it. How many arguments it took; 0: it is none.
static int scenario(int count, char **arguments, bool run) {
    if (count == 0) return 0;
    if (strcmp(arguments[0], "rtt") == 0) {
        if (run) measureRTT();
        return 1;
    }
    if (strcmp(arguments[0], "small") == 0) {
        if (run) measureOneWay("small", smallMessage);
        return 1;
    }
    if (strcmp(arguments[0], "throughput") == 0 && count > 1) {
        long size = strtol(arguments[1], NULL, 10);
        if (size < 1 || size > largestMessage) return 0;
        if (run) measureOneWay("throughput", (size_t)size);
        return 2;
    }
    return 0;
}

static void openSockets(int descriptors[2], struct sockaddr_in addresses[2]) {
    for (int i = 0; i < 2; i++) {
        descriptors[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        addresses[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof addresses[i];
        if (descriptors[i] < 0 || bind(descriptors[i], (struct sockaddr *)&addresses[i], length)
            || getsockname(descriptors[i], (struct sockaddr *)&addresses[i], &length))
            fail("UDP socket on 127.0.0.1: %s", strerror(errno));
        // More than the system's limit needs a privilege; without it as much as there is.
        int size = 4 << 20;
        if (setsockopt(descriptors[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
            setsockopt(descriptors[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        if (setsockopt(descriptors[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
            setsockopt(descriptors[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
}

int main(int count, char **arguments) {
    static char *everything[] = {"rtt", "throughput", "16384", "throughput", "65536", "small"};
    int first = 1;
    for (; first < count && arguments[first][0] == '-'; first++) {
        if (strcmp(arguments[first], "--json") == 0) json = true;
        else if (strcmp(arguments[first], "--seconds") == 0 && first + 1 < count) seconds = atof(arguments[++first]);
        else break;
    }
    char **scenarios = first < count ? arguments + first : everything;
    int length = first < count ? count - first : (int)(sizeof everything / sizeof *everything);
    for (int i = 0, taken; i < length; i += taken)
        if ((taken = scenario(length - i, scenarios + i, false)) == 0 || !(seconds > 0 && seconds <= 3600)) {
            fprintf(stderr, "usage: reference [--json] [--seconds S] [rtt | throughput BYTES | small]...\n");
            return 2;
        }

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("mmap: %s", strerror(errno));
    int descriptors[2];
    struct sockaddr_in addresses[2];
    openSockets(descriptors, addresses);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    double start = now();
    pid_t parent = getpid();
    otherProcess = fork();
    if (otherProcess < 0) fail("fork: %s", strerror(errno));
    bool isServer = otherProcess == 0;
    if (isServer) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
    }
    udp = descriptors[isServer];
    close(descriptors[!isServer]);
    if (connect(udp, (struct sockaddr *)&addresses[!isServer], sizeof addresses[0]))
        fail("connect: %s", strerror(errno));
    startDTLS(isServer, &addresses[!isServer]);
    startSCTP();
    if (isServer) serve();

    command(commandEcho);
    printf(json ? "{\"scenario\":\"connect\",\"ms\":%.2f}\n" : "connect: %.1f ms\n", (now() - start) * 1e3);
    for (int i = 0; i < length;) i += scenario(length - i, scenarios + i, true);
    command(commandQuit);
    waitpid(otherProcess, NULL, 0);
    return 0;
}
