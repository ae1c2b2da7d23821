// The descriptors that this process may still open.
#ifndef CNICE_DESCRIPTORS_H
#define CNICE_DESCRIPTORS_H

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

/// Checks that this process can open `count` more descriptors, at most 256, by opening and closing them. The number of
/// a new descriptor would not tell: it is the lowest free one. Returns 0, or the errno of the first failure.
static inline int CNice_try_descriptors(int count) {
    int taken[256], number = 0, error = 0;
    while (number < count && number < 256) {
        // A few are files of their own, since the system's table of open files may be full.
        int descriptor = number < 4 ? eventfd(0, EFD_CLOEXEC) : fcntl(taken[0], F_DUPFD_CLOEXEC, 0);
        if (descriptor < 0) {
            error = errno;
            break;
        }
        taken[number++] = descriptor;
    }
    while (number > 0) close(taken[--number]);
    return error;
}

#endif
