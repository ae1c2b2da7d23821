// What is measured: the server's processor time and memory, and latencies.
#include "load.h"

#include <dirent.h>
#include <stdarg.h>
#include <unistd.h>

enum { maximumSamples = 16 << 20 };

static double *samples;
static size_t sampleCount;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/// Seconds of all threads of the server, to the nanosecond; 0 without `--pid`.
double serverCPU(void) {
    if (!settings.pid) return 0;
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", settings.pid);
    DIR *folder = opendir(path);
    if (!folder) return 0;
    double seconds = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", settings.pid, entry->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long nanoseconds;
        if (file && fscanf(file, "%llu", &nanoseconds) == 1) seconds += nanoseconds / 1e9;
        if (file) fclose(file);
    }
    closedir(folder);
    return seconds;
}

/// Seconds that the server has spent in the kernel, in steps of the kernel's clock; 0 without `--pid`.
double serverKernel(void) {
    if (!settings.pid) return 0;
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", settings.pid);
    FILE *file = fopen(path, "r");
    size_t count = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[count] = 0;
    const char *fields = strrchr(text, ')');  // a name may contain anything
    unsigned long ticks = 0;
    if (fields) sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %lu", &ticks);
    return (double)ticks / sysconf(_SC_CLK_TCK);
}

/// Resident bytes of the server.
long serverMemory(void) {
    if (!settings.pid) return 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", settings.pid);
    FILE *file = fopen(path, "r");
    long size, resident = 0;
    if (file && fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

void record(double latency) {
    if (!samples) samples = malloc(sizeof(double) * maximumSamples);
    if (!samples) fail("out of memory");
    if (sampleCount < maximumSamples) samples[sampleCount++] = latency;
}

void resetSamples(void) { sampleCount = 0; }

static int order(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

void printSamples(void) {
    if (!sampleCount) return;
    qsort(samples, sampleCount, sizeof(double), order);
    static const struct { const char *name; double share; } points[] = {
        {"p50_ms", 0.5}, {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"p999_ms", 0.999}, {"max_ms", 1}};
    for (size_t point = 0; point < sizeof points / sizeof *points; point++) {
        size_t index = points[point].share * sampleCount;
        if (index >= sampleCount) index = sampleCount - 1;
        printf(",\"%s\":%.3f", points[point].name, samples[index] * 1e3);
    }
    printf(",\"samples\":%zu", sampleCount);
}
