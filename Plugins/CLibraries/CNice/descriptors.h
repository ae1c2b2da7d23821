// The descriptors that this process may still open.
#ifndef CNICE_DESCRIPTORS_H
#define CNICE_DESCRIPTORS_H

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

/// Whether `count` more descriptors, at most 256, can be had. Takes them and gives them back: their number alone says
/// nothing, since it is the lowest free one. 0, or the errno of the first that was refused.
static inline int CNice_try_descriptors(int count) {
    int taken[256], number = 0, error = 0;
    while (number < count && number < 256) {
        // A few of them are files of their own, which the system as a whole may be out of.
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
