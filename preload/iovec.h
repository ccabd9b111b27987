/* Sizes and remainders of struct iovec arrays. */
#ifndef PRELOAD_IOVEC_H
#define PRELOAD_IOVEC_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Bytes in all; -1 when the kernel would refuse the array (it then gives the errno). */
static inline ssize_t iovec_length(const struct iovec *iov, int count)
{
    size_t sum = 0;
    if (count < 0 || count > IOV_MAX)
        return -1;
    for (int i = 0; i < count; i++)
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum) || sum > SSIZE_MAX)
            return -1;
    return (ssize_t)sum;
}

/* What is left of the array after `done` bytes: the whole elements that follow, or, where an
 * element was begun, its remainder alone, which is put into *part. *count is changed to match. */
static inline const struct iovec *iovec_rest(const struct iovec *iov, int *count, size_t done,
                                             struct iovec *part)
{
    if (__builtin_expect(!done, 1))
        return iov;
    while (*count > 1 && done >= iov->iov_len) {
        done -= iov->iov_len;
        iov++;
        --*count;
    }
    if (!done)
        return iov;
    part->iov_base = (char *)iov->iov_base + done;
    part->iov_len = iov->iov_len - done;
    *count = 1;
    return part;
}

#endif
