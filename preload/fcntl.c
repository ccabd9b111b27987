/* fcntl and ioctl: O_NONBLOCK and new numbers are noted, record locks wait.
 *
 * Both are variadic in libc's headers; see patch-tables/README for the parameters. A command that
 * takes an int gets the upper half of its parameter unspecified.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "fd.h"
#include "filelock.h"
#include "iotry.h"
#include "patch.h"

/* The descriptor now has, or has not, O_NONBLOCK. What it had drained it may be asked for again. */
static void nonblock_noted(int fd, bool set)
{
    struct fd_entry *e = fd_entry(fd);
    if (!e)
        return;
    if (set)
        atomic_fetch_or_explicit(&e->flags, FD_NONBLOCK, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_NONBLOCK, memory_order_relaxed);
    atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_DRAINED, memory_order_relaxed);
}

int green_fcntl(int fd, int cmd, long arg)
{
    bool native = patch_passes(PATCH_fcntl);
    if (fd_is_private(fd)) {
        errno = EBADF;
        return -1;
    }
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return fd_copied(fd, real.fcntl(fd, cmd, arg));
    case F_SETFL: {
        int r = real.fcntl(fd, cmd, arg);
        if (r == 0)
            nonblock_noted(fd, arg & O_NONBLOCK);
        return r;
    }
    case F_SETLKW:
    case F_OFD_SETLKW:
        return native ? real.fcntl(fd, cmd, arg) : filelock_fcntl(fd, cmd, arg);
    default:
        return real.fcntl(fd, cmd, arg);
    }
}

int green_ioctl(int fd, unsigned long request, void *arg)
{
    (void)patch_passes(PATCH_ioctl);
    int r = real.ioctl(fd, request, arg);
    if (r == 0 && (unsigned)request == FIONBIO)
        nonblock_noted(fd, *(const int *)arg != 0);
    return r;
}
