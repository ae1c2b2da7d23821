// The loop around the connections: what epoll says, what is due, what is to be written.
#include "load.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double now;
bool isDone;

static int poller;

// Clients with something to write, at the end of a turn; clients with something to acknowledge, the oldest first.
static uint32_t *dirty, dirtyCount;
struct due { double at; uint32_t client, stamp; };
static struct due *acknowledgements;
static uint32_t acknowledgementHead, acknowledgementCount;
// Timers: a heap. One that was set again is skipped by its stamp.
static struct due *heap;
static size_t heapCount, heapCapacity;

static const double acknowledgeAfter = 0.2;

double clockNow(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

double unitRandom(void) { return drand48(); }

void prepareLoop(void) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    dirty = calloc(settings.clients, sizeof *dirty);
    acknowledgements = calloc(settings.clients, sizeof *acknowledgements);
    if (poller < 0 || !dirty || !acknowledgements) fail("out of memory");
}

// MARK: Timers

static void swap(size_t a, size_t b) {
    struct due other = heap[a];
    heap[a] = heap[b];
    heap[b] = other;
}

void setTimer(struct client *client, double at) {
    if (heapCount == heapCapacity) {
        heapCapacity = heapCapacity ? heapCapacity * 2 : 1024;
        heap = realloc(heap, heapCapacity * sizeof *heap);
        if (!heap) fail("out of memory");
    }
    heap[heapCount] = (struct due){at, client->index, ++client->timer};
    for (size_t child = heapCount++; child && heap[child].at < heap[(child - 1) / 2].at; child = (child - 1) / 2) {
        swap(child, (child - 1) / 2);
    }
}

static struct due popTimer(void) {
    struct due first = heap[0];
    heap[0] = heap[--heapCount];
    for (size_t parent = 0;;) {
        size_t child = 2 * parent + 1;
        if (child + 1 < heapCount && heap[child + 1].at < heap[child].at) child++;
        if (child >= heapCount || heap[parent].at <= heap[child].at) return first;
        swap(parent, child);
        parent = child;
    }
}

// MARK: What is to be done

void wake(struct client *client) {
    if (client->isDirty) return;
    client->isDirty = true;
    dirty[dirtyCount++] = client->index;
}

void acknowledgeLater(struct client *client) {
    if (client->hasAcknowledgement) return;
    client->hasAcknowledgement = true;
    uint32_t slot = (acknowledgementHead + acknowledgementCount++) % settings.clients;
    acknowledgements[slot] = (struct due){.at = now + acknowledgeAfter, .client = client->index};
}

void watch(struct client *client, bool writes, bool isNew) {
    struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.u32 = client->index};
    client->wantsWrite = writes;
    epoll_ctl(poller, isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, client->descriptor, &event);
}

void flushAll(void) {
    for (uint32_t index = 0; index < dirtyCount; index++) {
        clients[dirty[index]].isDirty = false;
        flushClient(&clients[dirty[index]]);
    }
    dirtyCount = 0;
}

static void pastDue(void) {
    while (acknowledgementCount && acknowledgements[acknowledgementHead].at <= now) {
        struct client *client = &clients[acknowledgements[acknowledgementHead].client];
        acknowledgementHead = (acknowledgementHead + 1) % settings.clients;
        acknowledgementCount--;
        client->hasAcknowledgement = false;
        if (client->phase != joined || client->received == client->acknowledged) continue;
        sendAcknowledgement(client);
        wake(client);
    }
    while (heapCount && heap[0].at <= now) {
        struct due due = popTimer();
        if (clients[due.client].timer == due.stamp) mode.timer(&clients[due.client]);
    }
}

void run(double until) {
    static struct epoll_event events[1024];
    static double nextTick;
    now = clockNow();
    while (!isDone && now < until) {
        double next = until < now + 0.01 ? until : now + 0.01;
        if (heapCount && heap[0].at < next) next = heap[0].at;
        struct timespec timeout = {.tv_nsec = next <= now ? 0 : (next - now) * 1e9};
        int count = epoll_pwait2(poller, events, sizeof events / sizeof *events, &timeout, NULL);
        now = clockNow();
        for (int index = 0; index < count; index++) {
            struct client *client = &clients[events[index].data.u32];
            if (client->descriptor < 0) continue;
            if (client->phase == connecting) {
                connected(client);
                continue;
            }
            if (events[index].events & EPOLLOUT) flushClient(client);
            if (events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(client);
        }
        pastDue();
        if (mode.tick && now >= nextTick) {
            nextTick = now + 0.01;
            mode.tick();
        }
        if (mode.turn) mode.turn();
        flushAll();
    }
    isDone = false;
}
