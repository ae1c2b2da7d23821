// forwarder IF_A IF_B: a cable between two interfaces that delays, loses, reorders, duplicates and queues packets.
//
// Standard input takes one line per setting: DIRECTION key=value …   DIRECTION is "ab", "ba" or "both".
//   delay=MS  loss=PERCENT  burst=PACKETS (mean length of a loss burst; 1: independent)  reorder=PERCENT (sent without
//   delay)
//   dup=PERCENT  rate=MBIT_PER_S (0: none)  queue=MS (of the rate's queue; what would wait longer is dropped)  seed=N
// "stats" prints one line of JSON. The end of input ends the program. Each setting is answered by a line "ok".
//
// It runs at a high priority: a cable does not wait for a busy processor. "late" in its statistics is the worst delay,
// in milliseconds, beyond the configured delay.
//
// One thread, two AF_PACKET sockets, one heap of packets by due time. Times are CLOCK_MONOTONIC nanoseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PACKET = 2048, BATCH = 64, MAX_HELD = 1 << 17 };

typedef struct {
    uint64_t due, serial;
    uint32_t length;
    int direction;
    unsigned char bytes[];
} Packet;

typedef struct {
    double delay_ms, loss, burst, reorder, duplicate, rate, queue_ms;
    uint64_t next_free, forwarded, lost, overflowed, doubled, reordered, unsent;
    int in_burst;
} Direction;

static Direction directions[2] = {{.burst = 1, .queue_ms = 100}, {.burst = 1, .queue_ms = 100}};
static int sockets[2];
static Packet *heap[MAX_HELD];
static size_t held;
static uint64_t worst_lateness;
static uint64_t serials, random_state = 88172645463325252ull;

static void fail(const char *what) {
    fprintf(stderr, "forwarder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// Per cent, from xorshift64: the same seed gives the same losses for the same packets.
static int happens(double percent) {
    if (percent <= 0) return 0;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / (double)(1ull << 53) * 100 < percent;
}

static int earlier(const Packet *a, const Packet *b) {
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

static void push(Packet *packet) {
    size_t index = held++;
    while (index > 0 && earlier(packet, heap[(index - 1) / 2])) {
        heap[index] = heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    heap[index] = packet;
}

static Packet *pop(void) {
    Packet *first = heap[0], *last = heap[--held];
    size_t index = 0;
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= held) break;
        if (child + 1 < held && earlier(heap[child + 1], heap[child])) child++;
        if (!earlier(heap[child], last)) break;
        heap[index] = heap[child];
        index = child;
    }
    heap[index] = last;
    return first;
}

static int is_lost(Direction *d) {
    if (d->loss <= 0) return 0;
    if (d->burst <= 1) return happens(d->loss);
    // Two states (Gilbert), with the configured mean burst length and share of losses.
    double leave = 100 / d->burst, enter = d->loss / (100 - d->loss) * leave;
    d->in_burst = d->in_burst ? !happens(leave) : happens(enter);
    return d->in_burst;
}

static void accept_packet(int direction, const unsigned char *bytes, uint32_t length, uint64_t time) {
    Direction *d = &directions[direction];
    if (is_lost(d)) {
        d->lost++;
        return;
    }
    uint64_t due = time;
    if (d->rate > 0) {
        uint64_t start = d->next_free > time ? d->next_free : time;
        if ((double)(start - time) > d->queue_ms * 1e6) {
            d->overflowed++;
            return;
        }
        d->next_free = start + (uint64_t)((double)length * 8000 / d->rate);
        due = d->next_free;
    }
    int is_reordered = happens(d->reorder);
    if (is_reordered) d->reordered++;
    else due += (uint64_t)(d->delay_ms * 1e6);
    int copies = happens(d->duplicate) ? 2 : 1;
    if (copies == 2) d->doubled++;
    for (int copy = 0; copy < copies; copy++) {
        if (held == MAX_HELD) {
            d->overflowed++;
            return;
        }
        Packet *packet = malloc(sizeof *packet + length);
        if (!packet) fail("malloc");
        packet->due = due;
        packet->serial = serials++;
        packet->length = length;
        packet->direction = direction;
        memcpy(packet->bytes, bytes, length);
        push(packet);
    }
}

static void receive(int side) {
    static unsigned char buffers[BATCH][MAX_PACKET];
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    for (int round = 0; round < 8; round++) {
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){buffers[i], MAX_PACKET};
            messages[i].msg_hdr.msg_iov = &vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int count = recvmmsg(sockets[side], messages, BATCH, MSG_DONTWAIT, NULL);
        if (count < 0) {
            if (errno == EAGAIN || errno == EINTR || errno == ENETDOWN) return;
            fail("recvmmsg");
        }
        uint64_t time = now();
        for (int i = 0; i < count; i++) {
            if (messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
                fprintf(
                    stderr, "forwarder: a packet over %d bytes: switch the offloads off (ethtool -K)\n", MAX_PACKET);
                exit(1);
            }
            accept_packet(side, buffers[i], messages[i].msg_len, time);
        }
        if (count < BATCH) return;
    }
}

static void release(uint64_t time) {
    while (held > 0 && heap[0]->due <= time) {
        Packet *packets[BATCH];
        struct mmsghdr messages[BATCH];
        struct iovec vectors[BATCH];
        memset(messages, 0, sizeof messages);
        if (time - heap[0]->due > worst_lateness) worst_lateness = time - heap[0]->due;
        int direction = heap[0]->direction, count = 0;
        while (count < BATCH && held > 0 && heap[0]->due <= time && heap[0]->direction == direction) {
            packets[count] = pop();
            vectors[count] = (struct iovec){packets[count]->bytes, packets[count]->length};
            messages[count].msg_hdr.msg_iov = &vectors[count];
            messages[count].msg_hdr.msg_iovlen = 1;
            count++;
        }
        int sent = 0;
        while (sent < count) {
            int result = sendmmsg(sockets[!direction], messages + sent, (unsigned)(count - sent), 0);
            if (result > 0) {
                sent += result;
            } else if (errno == ENOBUFS || errno == EAGAIN || errno == ENETDOWN || errno == EMSGSIZE) {
                directions[direction].unsent++;
                sent++;
            } else if (errno != EINTR) {
                fail("sendmmsg");
            }
        }
        directions[direction].forwarded += (uint64_t)count;
        for (int i = 0; i < count; i++) free(packets[i]);
    }
}

static void set(Direction *d, const char *key, double value) {
    if (!strcmp(key, "delay")) d->delay_ms = value;
    else if (!strcmp(key, "loss")) d->loss = value;
    else if (!strcmp(key, "burst")) d->burst = value;
    else if (!strcmp(key, "reorder")) d->reorder = value;
    else if (!strcmp(key, "dup")) d->duplicate = value;
    else if (!strcmp(key, "rate")) d->rate = value;
    else if (!strcmp(key, "queue")) d->queue_ms = value;
    else if (!strcmp(key, "seed")) random_state = (uint64_t)value * 2 + 1;
    else fprintf(stderr, "forwarder: there is no setting '%s'\n", key), exit(2);
}

static void print_stats(void) {
    for (int i = 0; i < 2; i++) {
        const Direction *d = &directions[i];
        printf("%s\"%s\":{\"forwarded\":%lu,\"lost\":%lu,\"overflowed\":%lu,\"doubled\":%lu,"
               "\"reordered\":%lu,\"unsent\":%lu}",
               i ? "," : "{", i ? "ba" : "ab", d->forwarded, d->lost, d->overflowed, d->doubled, d->reordered,
               d->unsent);
    }
    printf(",\"late\":%.1f}\n", (double)worst_lateness / 1e6);
}

static void command(char *line) {
    char *rest = line, *word = strsep(&rest, " ");
    if (!strcmp(word, "stats")) {
        print_stats();
        fflush(stdout);
        return;
    }
    int first = strcmp(word, "ba") ? 0 : 1, last = strcmp(word, "ab") ? 1 : 0;
    while (rest && (word = strsep(&rest, " "))) {
        char *equals = strchr(word, '=');
        if (!equals) continue;
        *equals = 0;
        for (int i = first; i <= last; i++) set(&directions[i], word, atof(equals + 1));
    }
    printf("ok\n");
    fflush(stdout);
}

static int open_interface(const char *name) {
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    if (fd < 0) fail("socket");
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    address.sll_ifindex = (int)if_nametoindex(name);
    if (!address.sll_ifindex) fail(name);
    int one = 1, size = 16 << 20;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0) fail("PACKET_IGNORE_OUTGOING");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) fail("SO_RCVBUFFORCE");
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0) fail("SO_SNDBUFFORCE");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
    struct packet_mreq membership = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0) fail("promiscuous mode");
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: forwarder IF_A IF_B\n"), 2;
    // Not vital: when it is not permitted, "late" shows it.
    if (setpriority(PRIO_PROCESS, 0, -15) < 0) perror("forwarder: setpriority");
    for (int i = 0; i < 2; i++) sockets[i] = open_interface(argv[i + 1]);
    printf("ok\n");
    fflush(stdout);
    char input[4096];
    size_t used = 0;
    for (;;) {
        struct pollfd polls[3] = {{.fd = sockets[0], .events = POLLIN}, {.fd = sockets[1], .events = POLLIN},
                                  {.fd = 0, .events = POLLIN}};
        uint64_t time = now();
        struct timespec wait = {.tv_sec = 1};
        if (held > 0) {
            uint64_t left = heap[0]->due > time ? heap[0]->due - time : 0;
            if (left < 1000000000u) wait = (struct timespec){.tv_nsec = (long)left};
        }
        if (ppoll(polls, 3, &wait, NULL) < 0 && errno != EINTR) fail("ppoll");
        for (int side = 0; side < 2; side++)
            if (polls[side].revents) receive(side);
        release(now());
        if (polls[2].revents) {
            ssize_t count = read(0, input + used, sizeof input - used - 1);
            if (count <= 0) return 0;
            used += (size_t)count;
            input[used] = 0;
            char *end;
            while ((end = strchr(input, '\n'))) {
                *end = 0;
                command(input);
                used -= (size_t)(end + 1 - input);
                memmove(input, end + 1, used + 1);
            }
            if (used == sizeof input - 1) used = 0;
        }
    }
}
