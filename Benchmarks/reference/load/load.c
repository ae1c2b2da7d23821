// Steady load: joins, joins and leaves, signals, idle clients.
#include "load.h"

static int opening, present, next;
static double cpu, kernel, start, filling;
static uint64_t counted;

static void report(double elapsed, double used, double inKernel) {
    printf("{\"mode\":\"%s\",\"clients\":%d,\"members\":%d,\"seconds\":%.3f,\"cpu_s\":%.3f", settings.mode,
           settings.clients, settings.members, elapsed, used);
    printf(",\"count\":%lu,\"per_s\":%.1f", counted, counted / elapsed);
    if (used > 0) printf(",\"per_cpu_s\":%.1f,\"cpu_us\":%.2f", counted / used, used / counted * 1e6);
    if (used > 0) printf(",\"kernel_percent\":%.1f", inKernel / used * 100);
    printf(",\"errors\":%lu,\"unavailable\":%lu,\"resets\":%lu", totals.errors, totals.unavailable, totals.resets);
}

static void finish(void) {
    if (*totals.firstError) fprintf(stderr, "load: the first error: %s\n", totals.firstError);
    printf("}\n");
    fflush(stdout);
}

// MARK: All in

static void openMore(void) {
    int limit = settings.clients;
    if (settings.spread > 0 && now < filling + settings.spread) limit *= (now - filling) / settings.spread;
    while (opening < settings.inFlight && next < limit) {
        opening++;
        open_(&clients[next++]);
    }
}

static void oneIn(struct client *client) {
    opening--;
    record(now - client->began);
    if (++present == settings.clients) isDone = true;
    openMore();
}

static void tryAgain(struct client *client) { open_(client); }

static void oneOut(struct client *client, bool isFinal) {
    if (isFinal) fail("refused: %s", totals.firstError);
    if (client->isLeaving) {
        if (--present == 0) isDone = true;
        return;
    }
    double delay = client->earliest < 0 ? 0.05 + 0.1 * unitRandom()
                                        : client->earliest + unitRandom() * (client->latest - client->earliest);
    setTimer(client, now + delay);
}

/// Opens all clients, `inFlight` at a time.
void fill(void) {
    mode.joined = oneIn;
    mode.ended = oneOut;
    mode.timer = tryAgain;
    opening = present = next = 0;
    isDone = false;
    now = filling = clockNow();
    mode.tick = openMore;
    openMore();
    run(now + 120);
    mode.tick = NULL;
    if (present < settings.clients) {
        fail("only %d of %d clients are in after two minutes: %s", present, settings.clients, totals.firstError);
    }
}

static void leaveAll(void) {
    for (int index = 0; index < settings.clients; index++) {
        clients[index].isLeaving = true;
        sendText(&clients[index], "{\"type\":\"leave\"}");
        wake(&clients[index]);
    }
    flushAll();
    run(now + 20);
    for (int index = 0; index < settings.clients; index++) {
        struct client *client = &clients[index];
        if (client->phase != closed) abandon(client);
        client->round++;
        free(client->token);
        client->token = NULL;
        client->received = client->acknowledged = client->sent = 0;
    }
}

/// All in, as fast as it goes, then all out (which is not counted), until the counted time is over.
void joins(void) {
    double elapsed = 0, used = 0, inKernel = 0;
    do {
        double began = clockNow(), cpuBefore = serverCPU(), kernelBefore = serverKernel();
        fill();
        elapsed += clockNow() - began;
        used += serverCPU() - cpuBefore;
        inKernel += serverKernel() - kernelBefore;
        counted += settings.clients;
        leaveAll();
    } while (elapsed < settings.seconds);
    report(elapsed, used, inKernel);
    printSamples();
    finish();
}

// MARK: In and out

static int *roomPresent;

static void churnedIn(struct client *client) {
    record(now - client->began);
    if (start > 0) counted++;
    if (++roomPresent[client->room] < settings.members) return;
    for (int position = 0; position < settings.members; position++) {
        struct client *member = memberOf(client, position);
        member->isLeaving = true;
        sendText(member, "{\"type\":\"leave\"}");
        wake(member);
    }
}

/// Runs for the warm-up, then for the time that is measured.
static void measure(void) {
    run(clockNow() + settings.warmUp);
    resetSamples();
    start = clockNow();
    cpu = serverCPU();
    kernel = serverKernel();
    run(start + settings.seconds);
    report(clockNow() - start, serverCPU() - cpu, serverKernel() - kernel);
}

static void churnedOut(struct client *client, bool isFinal) {
    if (isFinal) fail("refused: %s", totals.firstError);
    if (!client->isLeaving) return setTimer(client, now + 0.1);
    if (--roomPresent[client->room]) return;
    for (int position = 0; position < settings.members; position++) {
        struct client *member = memberOf(client, position);
        member->round++;
        free(member->token);
        member->token = NULL;
        member->received = member->acknowledged = 0;
        open_(member);
    }
}

/// Rooms whose members join, leave when all are there, and join a new room: all that it costs is counted.
void churn(void) {
    mode = (struct mode){.joined = churnedIn, .ended = churnedOut, .timer = tryAgain};
    roomPresent = calloc(settings.clients, sizeof *roomPresent);
    for (int index = 0; index < settings.clients; index++) open_(&clients[index]);
    measure();
    printSamples();
    finish();
}

// MARK: Signals

static void signalNext(struct client *client) {
    client->nextPeer = (client->nextPeer + 1) % settings.members;
    if (client->nextPeer == (int)client->position) client->nextPeer = (client->nextPeer + 1) % settings.members;
    sendSignal(client, memberOf(client, client->nextPeer), 0, (int)(client->sent % 100) < settings.descriptions);
    wake(client);
}

static void signalCame(struct client *client, const char *text, size_t length) {
    (void)client;
    uint32_t sender;
    uint64_t number;
    double sentAt;
    if (!readMark(text, length, &sender, &number, &sentAt)) fail("a signal without its mark: %.200s", text);
    if (start > 0) {
        counted++;
        record(clockNow() - sentAt);
    }
    if (settings.window) signalNext(&clients[sender]);
}

static void signalDue(struct client *client) {
    signalNext(client);
    setTimer(client, now + settings.interval);
}

static void lostMember(struct client *client, bool isFinal) {
    (void)client, (void)isFinal;
    fail("a member was lost: %s", *totals.firstError ? totals.firstError : "the connection ended");
}

/// Every member keeps `window` signals under way to the others of its room; 0: it sends one each `interval`.
void signals(void) {
    fill();
    mode = (struct mode){.signalled = signalCame, .ended = lostMember, .joined = oneIn, .timer = signalDue};
    run(clockNow() + 0.5);
    for (int index = 0; index < settings.clients; index++) {
        if (!settings.window) setTimer(&clients[index], now + unitRandom() * settings.interval);
        for (int sent = 0; sent < settings.window; sent++) signalNext(&clients[index]);
    }
    flushAll();
    measure();
    printf(",\"window\":%d,\"descriptions_percent\":%d", settings.window, settings.descriptions);
    printSamples();
    finish();
}

// MARK: Idle

static uint64_t ownPings;

static void pingDue(struct client *client) {
    if (now - client->heard >= settings.interval) {
        sendText(client, "{\"type\":\"ping\",\"id\":1}");
        wake(client);
        ownPings++;
        client->heard = now;
    }
    setTimer(client, client->heard + settings.interval);
}

/// Clients that are in, answer pings, and ping after `interval` of silence.
void idle(void) {
    long before = serverMemory();
    fill();
    mode = (struct mode){.ended = lostMember, .timer = pingDue, .joined = oneIn};
    for (int index = 0; index < settings.clients; index++) {
        setTimer(&clients[index], clients[index].heard + settings.interval);
    }
    run(clockNow() + settings.warmUp);
    start = clockNow();
    cpu = serverCPU();
    uint64_t pings = totals.pings, own = ownPings;
    run(start + settings.seconds);
    double elapsed = clockNow() - start, used = serverCPU() - cpu;
    counted = settings.clients;
    long after = serverMemory();
    printf("{\"mode\":\"idle\",\"clients\":%d,\"members\":%d,\"seconds\":%.3f,\"cpu_s\":%.3f,\"cpu_percent\":%.2f",
           settings.clients, settings.members, elapsed, used, used / elapsed * 100);
    printf(",\"rss_before\":%ld,\"rss_after\":%ld,\"kib_per_client\":%.2f,\"pings_per_s\":%.1f"
           ",\"own_pings_per_s\":%.1f", before, after,
           (after - before) / 1024.0 / settings.clients, (totals.pings - pings) / elapsed,
           (ownPings - own) / elapsed);
    finish();
}
