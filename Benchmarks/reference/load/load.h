// A load generator for the room server: many clients of the room protocol in one thread, lean enough that the server
// is what is measured. main.c has the usage.
#define _GNU_SOURCE
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { idSize = 65, largestRoom = 16 };

enum phase { closed, connecting, securing, upgrading, entering, joined, waiting };

/// A growing run of bytes; `start` bytes of it are consumed.
struct bytes {
    uint8_t *data;
    size_t start, end, capacity;
};

/// A message to another member that the server has not acknowledged.
struct unacknowledged {
    uint64_t sequence, number;
    uint32_t receiver;
};

struct client {
    int descriptor;
    enum phase phase;
    uint32_t index, room, position;
    /// The number of the room's use: rooms that were left are not joined again.
    uint32_t round;
    bool isDirty, hasAcknowledgement, wantsWrite, isLeaving, wasLost, isBack, isResumed;
    uint32_t attempt, retries, timer;
    double earliest, latest;  // goingAway, Retry-After and errors: when to come back; below 0: by back-off
    uint64_t received, acknowledged, sent;
    double began, lostAt, heard;
    int inFlight, nextPeer;
    char participant[idSize], session[idSize];
    char *token;
    struct bytes in, out;
    SSL *ssl;
    struct unacknowledged *kept;
    size_t keptCount, keptCapacity;
    uint64_t sentTo[largestRoom], receivedFrom[largestRoom];
};

struct settings {
    const char *mode, *kind;
    char address[64];
    int port, pid;
    uint32_t source;
    int sources, clients, members, inFlight, window, descriptions;
    double seconds, interval, warmUp, spread;
    bool isTLS, resumes;
};

struct totals {
    uint64_t joins, attempts, refused, errors, unavailable, resets;
    uint64_t signals, sent, bytes, pings, lost, repeated, resumed;
    char firstError[256];
};

/// The decisions of a mode; any may be NULL.
struct mode {
    void (*joined)(struct client *);
    void (*signalled)(struct client *, const char *text, size_t length);
    /// The connection has ended; `isFinal`: an error that is not retryable.
    void (*ended)(struct client *, bool isFinal);
    void (*timer)(struct client *);
    /// Every 10 ms.
    void (*tick)(void);
    /// In every turn of the loop.
    void (*turn)(void);
};

extern struct settings settings;
extern struct totals totals;
extern struct mode mode;
extern struct client *clients;
extern double now;
extern bool isDone;

// clients.c
void prepareClients(void);
void open_(struct client *client);
void abandon(struct client *client);
void connected(struct client *client);
void readable(struct client *client);
void flushClient(struct client *client);
struct client *memberOf(struct client *client, int position);

// loop.c
void prepareLoop(void);
void setTimer(struct client *client, double at);
/// `writes`: also when something can be written.
void watch(struct client *client, bool writes, bool isNew);
/// What was appended is written at the end of the turn.
void wake(struct client *client);
void acknowledgeLater(struct client *client);
void flushAll(void);
void run(double until);
double clockNow(void);
double unitRandom(void);

// wire.c
void appendText(struct client *client, const char *text, size_t length);
void sendText(struct client *client, const char *text);
void sendHello(struct client *client);
void sendAcknowledgement(struct client *client);
/// Numbered: one message to a member of the room. `number` is carried in it, with the time.
void sendSignal(struct client *client, struct client *receiver, uint64_t number, bool isDescription);
bool readMark(const char *text, size_t length, uint32_t *sender, uint64_t *number, double *sentAt);
const char *field(const char *text, size_t length, const char *name);
uint64_t numberField(const char *text, size_t length, const char *name, uint64_t absent);
double realField(const char *text, size_t length, const char *name, double absent);
bool copyField(const char *text, size_t length, const char *name, char *into, size_t capacity);
void reserve(struct bytes *bytes, size_t more);
int readFrame(uint8_t *data, size_t length, uint8_t *opcode, uint8_t **payload, size_t *payloadLength);

// measure.c
double serverCPU(void);
double serverKernel(void);
long serverMemory(void);
void record(double latency);
void resetSamples(void);
void printSamples(void);
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

// load.c, outages.c
void joins(void);
void churn(void);
void signals(void);
void idle(void);
void comeback(void);
void drain(void);
void paced(void);
void attack(void);
void handshakes(void);
void fill(void);
