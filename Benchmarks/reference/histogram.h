// The histogram of a JSON line, in the form that `room bench` keeps: log-linear buckets of nanoseconds, 128 to a power
// of two, written as number, count, number, count… (Sources/TransportBenchmark/LatencyHistogram.swift).
#include <stdint.h>
#include <stdio.h>

enum { histogramBits = 7, histogramBuckets = (40 - histogramBits + 1) << histogramBits };

static int histogramBucket(uint64_t nanoseconds) {
    int shift = nanoseconds < 1 << histogramBits ? 0 : 63 - histogramBits - __builtin_clzll(nanoseconds);
    uint64_t bucket = ((uint64_t)shift << histogramBits) + (nanoseconds >> shift);
    return bucket < histogramBuckets ? (int)bucket : histogramBuckets - 1;
}

/// `seconds` in ascending order, at least one.
static void printHistogram(const double *seconds, int count) {
    printf(
        "\"histogram\":{\"unit\":\"ns\",\"precisionBits\":%d,\"count\":%d,\"min\":%.0f,\"max\":%.0f,\"buckets\":[",
        histogramBits, count, seconds[0] * 1e9, seconds[count - 1] * 1e9);
    for (int first = 0, next; first < count; first = next) {
        int bucket = histogramBucket((uint64_t)(seconds[first] * 1e9));
        for (next = first + 1; next < count && histogramBucket((uint64_t)(seconds[next] * 1e9)) == bucket;) next++;
        printf("%s%d,%d", first ? "," : "", bucket, next - first);
    }
    printf("]}");
}
