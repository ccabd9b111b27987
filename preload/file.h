/* Plain files: always ready, and never more than a disk away. */
#ifndef PRELOAD_FILE_H
#define PRELOAD_FILE_H

#include <sys/types.h>
#include <sys/uio.h>

#pragma GCC visibility push(hidden)

/* preadv2(2) and pwritev2(2) as --file-io says: in place, or on a helper thread where the data is
 * not in memory. `at` -1 is the file's position. Cancellation points. May switch. */
ssize_t file_readv(int fd, const struct iovec *iov, int count, off_t at, int flags);
ssize_t file_writev(int fd, const struct iovec *iov, int count, off_t at, int flags);

#pragma GCC visibility pop

#endif
