// The C reference of the scenario `signaling`: libwebsockets' own client against a WebSocket echo server, one thread,
// nothing around it. `room bench --scenario signaling --reference FILE` runs FILE-websocket beside the backends.
//
//     reference-websocket ws://127.0.0.1:PORT/ SECONDS
//
// Prints one JSON object: the round trip of 64 B, one at a time, after 1,000 for warming up (p50_us, p99_us), then the
// messages per second with 100 in flight (msg_s) and the processor's time for each (cpu_us_msg); SECONDS for each of
// the two. Exit: 0 done, 1 something failed (said on standard error), 2 usage.

#define _GNU_SOURCE
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "histogram.h"

enum { messageSize = 64, inFlight = 100, warmUp = 1000, maximumSamples = 8 << 20 };

static struct lws *connection;
static double seconds;
static double *samples;
static int sampleCount;
static int warm;
static bool isFlood, isDone, hasFailed;
static int toSend;
static long received;
static double sentAt, phaseEnd, floodStart, cpuStart;

static double clockOf(clockid_t id) {
    struct timespec time;
    clock_gettime(id, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void wantSend(int count) {
    toSend += count;
    lws_callback_on_writable(connection);
}

static void messageCame(void) {
    double now = clockOf(CLOCK_MONOTONIC);
    if (!isFlood) {
        if (warm < warmUp) {
            if (++warm == warmUp) phaseEnd = now + seconds;
        } else if (sampleCount < maximumSamples) {
            samples[sampleCount++] = now - sentAt;
        }
        if (warm < warmUp || now < phaseEnd) return wantSend(1);
        isFlood = true;
        floodStart = now;
        cpuStart = clockOf(CLOCK_PROCESS_CPUTIME_ID);
        phaseEnd = now + seconds;
        return wantSend(inFlight);
    }
    received++;
    if (now >= phaseEnd) isDone = true; else wantSend(1);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        connection = wsi;
        wantSend(1);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (toSend > 0) {
            // libwebsockets masks in place: the buffer is filled anew each time.
            unsigned char buffer[LWS_PRE + messageSize];
            memset(buffer + LWS_PRE, 'x', messageSize);
            if (!isFlood) sentAt = clockOf(CLOCK_MONOTONIC);
            toSend--;
            if (lws_write(wsi, buffer + LWS_PRE, messageSize, LWS_WRITE_TEXT) < messageSize) return -1;
            if (toSend > 0) lws_callback_on_writable(wsi);
        }
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0) messageCame();
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fprintf(stderr, "reference-websocket: %.*s\n", in ? (int)length : 2, in ? (const char *)in : "no");
        hasFailed = true;
        break;
    case LWS_CALLBACK_CLIENT_CLOSED:
        hasFailed = !isDone;
        connection = NULL;
        break;
    default: break;
    }
    return 0;
}

static int order(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

int main(int count, char **arguments) {
    int port = 0;
    if (count != 3 || sscanf(arguments[1], "ws://127.0.0.1:%d/", &port) != 1 || (seconds = atof(arguments[2])) <= 0) {
        fprintf(stderr, "usage: reference-websocket ws://127.0.0.1:PORT/ SECONDS\n");
        return 2;
    }
    lws_set_log_level(LLL_ERR, NULL);
    samples = malloc(sizeof(double) * maximumSamples);
    if (!samples) return 1;
    static const struct lws_protocols protocols[] = {
        {.name = "echo", .callback = callback, .rx_buffer_size = 65536}, {0}};
    struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols};
    struct lws_context *context = lws_create_context(&info);
    if (!context) return 1;
    struct lws_client_connect_info target = {
        .context = context, .address = "127.0.0.1", .host = "127.0.0.1", .port = port, .path = "/",
        .local_protocol_name = "echo", .ietf_version_or_minus_one = -1};
    if (!lws_client_connect_via_info(&target)) return 1;
    while (!isDone && !hasFailed) lws_service(context, 0);
    double elapsed = clockOf(CLOCK_MONOTONIC) - floodStart;
    double used = clockOf(CLOCK_PROCESS_CPUTIME_ID) - cpuStart;
    if (!hasFailed && sampleCount > 0) {
        qsort(samples, sampleCount, sizeof(double), order);
        printf("{\"p50_us\":%.3f,\"p99_us\":%.3f,\"msg_s\":%.0f,\"cpu_us_msg\":%.3f,", samples[sampleCount / 2] * 1e6,
               samples[sampleCount * 99L / 100] * 1e6, received / elapsed, used * 1e6 / received);
        printHistogram(samples, sampleCount);
        printf("}\n");
        fflush(stdout);
    }
    lws_context_destroy(context);
    return hasFailed;
}
