// What goes wrong: a server that is killed or drained, a bad neighbour; and the handshakes of TLS.
#include "load.h"

static int lost, back, refused, resumedCount;
static double start, firstLoss, allBack;
static bool flows, hasStopped;

// The clients' back-off: full jitter, up to 0.1 s at first, doubled up to 1 s.
static void comeAgain(struct client *client) {
    double limit = 0.1;
    for (uint32_t retry = 0; retry < client->retries && limit < 1; retry++) limit *= 2;
    client->retries++;
    double delay = client->earliest < 0 ? unitRandom() * (limit < 1 ? limit : 1)
                                        : client->earliest + unitRandom() * (client->latest - client->earliest);
    setTimer(client, now + delay);
}

static void openAgain(struct client *client) { open_(client); }

static void oneLost(struct client *client, bool isFinal) {
    if (!client->wasLost) {
        client->wasLost = true;
        client->lostAt = now;
        if (!lost++) firstLoss = now;
    }
    if (!isFinal) return comeAgain(client);
    refused++;
    if (lost == settings.clients && back + refused == settings.clients) isDone = true;
}

/// Sends again what the old connection may have lost: with its old numbers, or with new ones once the peer is there.
static void sendKeptAgain(struct client *client) {
    size_t count = client->keptCount;
    if (!client->isResumed) {
        for (size_t index = 0; index < count; index++) client->kept[index].sequence = UINT64_MAX;
        return;
    }
    if (count) client->sent = client->kept[0].sequence - 1;
    for (size_t index = 0; index < count; index++) {
        if (client->kept[index].sequence == UINT64_MAX) continue;
        sendSignal(client, &clients[client->kept[index].receiver], client->kept[index].number, false);
        client->kept[index].sequence = client->sent;
    }
    if (count) wake(client);
}

static void oneBack(struct client *client) {
    client->retries = 0;
    if (flows) sendKeptAgain(client);
    if (!client->wasLost || client->isBack) return;
    client->isBack = true;
    resumedCount += client->isResumed;
    record(now - client->lostAt);
    back++;
    allBack = now;
    if (lost == settings.clients && back + refused == settings.clients && !hasStopped) isDone = true;
}

static void signalled(struct client *client, const char *text, size_t length) {
    uint32_t sender;
    uint64_t number;
    double sentAt;
    if (!readMark(text, length, &sender, &number, &sentAt)) fail("a signal without its mark: %.200s", text);
    uint64_t *last = &client->receivedFrom[clients[sender].position];
    if (number <= *last) {
        totals.repeated++;
        return;
    }
    totals.lost += number - *last - 1;
    *last = number;
}

static void sendOne(struct client *client, struct client *receiver, uint64_t number) {
    if (client->keptCount == client->keptCapacity) {
        client->keptCapacity = client->keptCapacity ? client->keptCapacity * 2 : 16;
        client->kept = realloc(client->kept, client->keptCapacity * sizeof *client->kept);
        if (!client->kept) fail("out of memory");
    }
    sendSignal(client, receiver, number, false);
    client->kept[client->keptCount++] = (struct unacknowledged){client->sent, number, receiver->index};
    wake(client);
}

/// One signal of a member, if both sides are in: first what waits for this receiver.
static void step(struct client *client, bool isNew) {
    if (client->phase != joined) return;
    for (size_t index = 0; index < client->keptCount;) {
        struct unacknowledged kept = client->kept[index];
        if (kept.sequence != UINT64_MAX || clients[kept.receiver].phase != joined) {
            index++;
            continue;
        }
        memmove(client->kept + index, client->kept + index + 1, (--client->keptCount - index) * sizeof kept);
        sendOne(client, &clients[kept.receiver], kept.number);
    }
    if (!isNew || settings.members < 2) return;
    client->nextPeer = (client->nextPeer + 1) % settings.members;
    if (client->nextPeer == (int)client->position) client->nextPeer = (client->nextPeer + 1) % settings.members;
    struct client *receiver = memberOf(client, client->nextPeer);
    if (receiver->phase == joined) sendOne(client, receiver, ++client->sentTo[receiver->position]);
}

static void flow(void) {
    static double owed;
    static int next;
    owed += hasStopped ? settings.clients * 0.1 : settings.clients * 0.01 / settings.interval;
    for (; owed >= 1; owed--) {
        step(&clients[next], !hasStopped);
        next = (next + 1) % settings.clients;
    }
}

static uint64_t missing(void) {
    uint64_t count = 0;
    for (int index = 0; index < settings.clients; index++) {
        for (int position = 0; position < settings.members; position++) {
            struct client *receiver = memberOf(&clients[index], position);
            count += clients[index].sentTo[position] - receiver->receivedFrom[clients[index].position];
        }
    }
    return count;
}

static void outage(void) {
    fill();
    printf("{\"event\":\"ready\",\"t\":%.6f,\"clients\":%d}\n", clockNow(), settings.clients);
    fflush(stdout);
    resetSamples();
    totals = (struct totals){0};
    mode = (struct mode){.joined = oneBack, .ended = oneLost, .timer = openAgain, .signalled = signalled,
                         .tick = flows ? flow : NULL};
    run(clockNow() + settings.seconds);
    double until = clockNow();
    // Rooms are whole when a signal of each member reaches the next one.
    hasStopped = true;
    uint64_t attempts = totals.attempts;
    if (!flows) {
        run(until + 1);
        for (int index = 0; index < settings.clients; index++) {
            struct client *client = &clients[index];
            client->nextPeer = client->position;
            step(client, true);
        }
        flushAll();
    }
    for (double limit = clockNow() + 5; missing() && clockNow() < limit;) run(clockNow() + 0.1);
    uint64_t undelivered = missing() + totals.lost;
    printf("{\"mode\":\"%s\",\"clients\":%d,\"members\":%d,\"lost\":%d,\"back\":%d,\"refused_for_good\":%d",
           settings.mode, settings.clients, settings.members, lost, back, refused);
    printf(",\"resumed\":%d,\"first_loss_t\":%.6f,\"all_back_t\":%.6f,\"seconds\":%.3f,\"attempts\":%lu", resumedCount,
           firstLoss, allBack, allBack - firstLoss, attempts);
    printf(",\"unavailable\":%lu,\"errors\":%lu,\"signals_sent\":%lu,\"undelivered\":%lu,\"repeated\":%lu",
           totals.unavailable, totals.errors, totals.sent, undelivered, totals.repeated);
    printSamples();
    if (*totals.firstError) fprintf(stderr, "load: the first error: %s\n", totals.firstError);
    puts("}");
    fflush(stdout);
}

void comeback(void) { outage(); }

void drain(void) {
    flows = true;
    outage();
}

// MARK: One neighbour, and the other

static double nextStart;
static uint64_t startedCount, pacedIn;

static void pacedStart(void) {
    if (hasStopped || now < nextStart) return;
    nextStart += settings.interval;
    struct client *client = &clients[startedCount++ % settings.clients];
    if (client->phase != closed) fail("all %d clients are busy", settings.clients);
    client->lostAt = now;
    client->round++;
    free(client->token);
    client->token = NULL;
    client->received = client->acknowledged = client->retries = 0;
    open_(client);
}

static void pacedJoined(struct client *client) {
    record(now - client->lostAt);
    pacedIn++;
    client->isLeaving = true;
    sendText(client, "{\"type\":\"leave\"}");
    wake(client);
}

static void pacedEnded(struct client *client, bool isFinal) {
    if (isFinal) refused++;
    if (!client->isLeaving && !isFinal) comeAgain(client);
}

/// One join at a time, each in a room of its own, as a client would: what is refused tries again.
void paced(void) {
    mode = (struct mode){.joined = pacedJoined, .ended = pacedEnded, .timer = openAgain, .turn = pacedStart};
    nextStart = clockNow();
    run(clockNow() + settings.seconds);
    hasStopped = true;
    for (double limit = clockNow() + 5; pacedIn + refused < startedCount && clockNow() < limit;) run(clockNow() + 0.05);
    printf("{\"mode\":\"paced\",\"started\":%lu,\"joined\":%lu,\"refused_for_good\":%d,\"attempts\":%lu", startedCount,
           pacedIn, refused, totals.attempts);
    printf(",\"unavailable\":%lu,\"errors\":%lu", totals.unavailable, totals.errors);
    printSamples();
    puts("}");
    fflush(stdout);
}

static int opening;
static uint64_t done;

static void attackMore(void) {
    static uint32_t next;
    for (int tries = 0; opening < settings.inFlight && tries < settings.inFlight; tries++) {
        struct client *client = &clients[next++ % settings.clients];
        if (client->inFlight) continue;
        if (client->phase != closed) abandon(client);
        client->round++;
        free(client->token);
        client->token = NULL;
        client->received = client->acknowledged = 0;
        client->inFlight = 1;
        opening++;
        open_(client);
    }
}

static void attackIn(struct client *client) {
    client->inFlight = 0;
    opening--;
    done++;
}

static void attackOut(struct client *client, bool isFinal) {
    (void)isFinal;
    opening -= client->inFlight;
    client->inFlight = 0;
}

/// Opens as many as it can, and holds the newest of them.
void attack(void) {
    if (!settings.kind) fail("attack needs --kind: sockets, handshakes or rooms");
    mode = (struct mode){.joined = attackIn, .ended = attackOut, .timer = openAgain, .turn = attackMore};
    double cpu = serverCPU();
    start = clockNow();
    run(start + settings.seconds);
    double elapsed = clockNow() - start;
    printf("{\"mode\":\"attack\",\"kind\":\"%s\",\"attempts\":%lu,\"done\":%lu,\"per_s\":%.1f,\"cpu_s\":%.3f",
           settings.kind, totals.attempts, done, totals.attempts / elapsed, serverCPU() - cpu);
    printf(",\"unavailable\":%lu,\"errors\":%lu,\"resets\":%lu}\n", totals.unavailable, totals.errors, totals.resets);
}

// MARK: TLS

static void handshakeOut(struct client *client, bool isFinal) {
    (void)isFinal;
    opening--;
    client->inFlight = 0;
    if (!client->isLeaving) {
        totals.errors++;
        return;
    }
    if (start > 0) {
        done++;
        record(now - client->began);
    }
}

/// Handshakes that end at once: each counts when the server has closed its side too.
void handshakes(void) {
    settings.isTLS = true;
    mode = (struct mode){.ended = handshakeOut, .turn = attackMore};
    run(clockNow() + settings.warmUp);
    resetSamples();
    start = clockNow();
    double cpu = serverCPU();
    uint64_t resumed = totals.resumed, errors = totals.errors;
    run(start + settings.seconds);
    double elapsed = clockNow() - start, used = serverCPU() - cpu;
    printf("{\"mode\":\"handshakes\",\"resume\":%s,\"seconds\":%.3f,\"cpu_s\":%.3f,\"count\":%lu,\"per_s\":%.1f",
           settings.resumes ? "true" : "false", elapsed, used, done, done / elapsed);
    if (used > 0) printf(",\"per_cpu_s\":%.1f", done / used);
    printf(",\"resumed\":%lu,\"errors\":%lu", totals.resumed - resumed, totals.errors - errors);
    printSamples();
    puts("}");
    fflush(stdout);
}
