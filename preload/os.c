/* read, write and their kin on whatever a descriptor may be.
 *
 * Stream sockets are read and written by recvfrom(2) and sendto(2), which take MSG_DONTWAIT; all
 * else by preadv2(2) and pwritev2(2) with RWF_NOWAIT, which leave O_NONBLOCK alone; what knows
 * neither (FIFOs, terminals, inotify, pipes before Linux 6.4) is asked by poll(2) first. Plain
 * files are always ready: see file.c.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>

#include "coro/decimal.h"
#include "blocking.h"
#include "cancel.h"
#include "file.h"
#include "iotry.h"
#include "iovec.h"
#include "patch.h"
#include "signalfd.h"

enum { TTY_AT_ONCE = 1024 }; /* bytes that a terminal that is ready takes without blocking */

static bool is_kind(const struct fd_entry *e, enum fd_kind kind)
{
    return iotry_kind(e) == kind;
}

/* The program does not want to wait, or EOPNOTSUPP would not be about our RWF_NOWAIT. */
static bool flags_final(int flags)
{
    return flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND);
}

/* Is it open, and for something else than `mode` alone? */
static bool open_beyond(int fd, int mode)
{
    long status = sys_3(SYS_fcntl, fd, F_GETFL, 0);
    return status >= 0 && (status & O_ACCMODE) != mode;
}

/* ---- Reading ---- */

struct os_read {
    struct iotry io;
    struct fd_entry *entry;
    const struct iovec *iov;
    int count;
    int flags; /* RWF_... */
    bool one;  /* a single buffer, in an iov of ours; else the array is the program's */
};

static long read_plain(const struct os_read *r, int fd)
{
    return r->flags ? sys_6(SYS_preadv2, fd, r->iov, r->count, -1, -1, r->flags)
                    : sys_3(SYS_readv, fd, r->iov, r->count);
}

static long read_blocking(const struct os_read *r, int fd)
{
    return blocking_syscall(true, SYS_preadv2, fd, (long)r->iov, r->count, -1, -1, r->flags);
}

/* Does a terminal's own clock, or a line shorter than VMIN, end the read? Only the kernel knows
 * when (termios(3), "Canonical and noncanonical mode"). */
static bool tty_times(const struct os_read *r, int fd)
{
    struct termios mode;
    if (tcgetattr(fd, &mode) || mode.c_lflag & ICANON)
        return false;
    return mode.c_cc[VTIME] || !mode.c_cc[VMIN] || (r->one && r->iov->iov_len < mode.c_cc[VMIN]);
}

/* A FIFO without a writer is not ready, but at its end. Another description of it, with O_NONBLOCK,
 * tells. */
static long fifo_read(const struct os_read *r, int fd)
{
    char path[32] = "/proc/self/fd/";
    decimal_path(path, (uint64_t)fd, "");
    long twin = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (twin < 0)
        return -EAGAIN;
    long n = read_plain(r, (int)twin);
    sys_1(SYS_close, twin);
    return n;
}

/* For descriptors that have to be ready before they are read. */
static long read_when_ready(const struct os_read *r, int fd)
{
    bool tty = is_kind(r->entry, FD_TTY);
    if (tty && !iotry_nonblocking(r->entry, fd) && tty_times(r, fd))
        return read_blocking(r, fd);
    int ready = iotry_poll(fd, POLLIN);
    if (ready || iotry_nonblocking(r->entry, fd)) {
        long n = read_plain(r, fd);
        /* Who sleeps in a read when the terminal hangs up gets an error, later calls an end of
         * file. */
        return tty && n == 0 && r->io.waited && ready & POLLHUP ? -EIO : n;
    }
    bool small = is_kind(r->entry, FD_EVENT) && r->one && r->iov->iov_len < sizeof(uint64_t);
    if (small || !open_beyond(fd, O_WRONLY)) /* an error, and not later */
        return read_plain(r, fd);
    return is_kind(r->entry, FD_PIPE) ? fifo_read(r, fd) : -EAGAIN;
}

/* For sockets before Linux 6.4. A read of 0 bytes takes nothing, where a recv takes a datagram. */
static long read_socket(const struct os_read *r, int fd)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)r->iov,
                         .msg_iovlen = (size_t)r->count};
    return iovec_length(r->iov, r->count) ? sys_3(SYS_recvmsg, fd, &msg, MSG_DONTWAIT) : 0;
}

/* An array of the program's is looked into only when the kernel has found it readable: so it is
 * always offered with RWF_NOWAIT first. */
static long read_once(struct os_read *r, int fd, bool now)
{
    struct iotry *t = &r->io;
    if (!now)
        return read_blocking(r, fd);
    if (t->flags & IOTRY_SOCKET && r->one) {
        long n =
            sys_6(SYS_recvfrom, fd, r->iov->iov_base, r->iov->iov_len, MSG_DONTWAIT, NULL, NULL);
        if (__builtin_expect(n != -ENOTSOCK, 1))
            return n;
        iotry_forget(r->entry);
        t->flags &= (uint8_t)~IOTRY_SOCKET;
    }
    if (!r->one || !(iotry_flags(r->entry) & FD_READ_READY)) {
        long n = sys_6(SYS_preadv2, fd, r->iov, r->count, -1, -1, r->flags | RWF_NOWAIT);
        if (__builtin_expect(n != -EOPNOTSUPP && n != -ENOSYS, 1))
            return n;
        atomic_fetch_or_explicit(&r->entry->flags, FD_READ_READY, memory_order_relaxed);
    }
    return t->flags & IOTRY_SOCKET ? read_socket(r, fd) : read_when_ready(r, fd);
}

static long read_attempt(struct iotry *t, int fd, bool now)
{
    struct os_read *r = (struct os_read *)t;
    long n = read_once(r, fd, now);
    if (n > 0)
        t->asked = (size_t)iovec_length(r->iov, r->count);
    return n;
}

static ssize_t os_read(int fd, const struct iovec *iov, int count, int flags, bool one)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e || is_kind(e, FD_FILE))
        return file_readv(fd, iov, count, -1, flags);
    if (iotry_low_water(e, fd))
        return iotry_result(blocking_syscall(true, SYS_readv, fd, (long)iov, count, 0, 0, 0));
    struct os_read r = {
        .io = {.attempt = read_attempt,
               .fd = fd,
               .events = IO_READ,
               .flags = IOTRY_DRAINS | (is_kind(e, FD_SOCKET) ? IOTRY_SOCKET : 0),
               .timeout = -EAGAIN,
               .want = 1,
               .deadline = DEADLINE_NEVER},
        .entry = e,
        .iov = iov,
        .count = count,
        .flags = flags,
        .one = one,
    };
    return iotry_result(iotry(&r.io, e));
}

ssize_t green_read(int fd, void *buf, size_t len)
{
    PASS_UNLESS_GREEN(read, fd, buf, len);
    struct fd_entry *e = fd_entry(fd);
    if (e && atomic_load_explicit(&e->kind, memory_order_relaxed) == FD_SIGNAL)
        return signalfd_read(fd, buf, len);
    struct iovec iov = {buf, len < IOTRY_MOST ? len : IOTRY_MOST};
    return len && len <= SSIZE_MAX ? os_read(fd, &iov, 1, 0, true) : real.read(fd, buf, len);
}

ssize_t green_readv(int fd, const struct iovec *iov, int count)
{
    PASS_UNLESS_GREEN(readv, fd, iov, count);
    return os_read(fd, iov, count, 0, false);
}

ssize_t green_preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    PASS_UNLESS_GREEN(preadv2, fd, iov, count, at, flags);
    if (flags_final(flags))
        return real.preadv2(fd, iov, count, at, flags);
    return at == -1 ? os_read(fd, iov, count, flags, false) : file_readv(fd, iov, count, at, flags);
}

int green_eventfd_read(int fd, eventfd_t *value)
{
    PASS_UNLESS_GREEN(eventfd_read, fd, value);
    struct iovec iov = {value, sizeof *value};
    return os_read(fd, &iov, 1, 0, true) == sizeof *value ? 0 : -1;
}

/* ---- Writing ---- */

struct os_write {
    struct iotry io;
    struct fd_entry *entry;
    const struct iovec *iov;
    int count;
    int flags; /* RWF_... */
    bool one;  /* a single buffer, in an iov of ours; else the array is the program's */
};

/* How much a descriptor takes that is written only when it is ready. */
static size_t write_room(const struct fd_entry *e)
{
    switch (iotry_kind(e)) {
    case FD_PIPE:
        return PIPE_BUF;
    case FD_TTY:
        return TTY_AT_ONCE;
    default:
        return SIZE_MAX;
    }
}

static long write_plain(const struct os_write *w, int fd, const struct iovec *iov, int count)
{
    return w->flags ? sys_6(SYS_pwritev2, fd, iov, count, -1, -1, w->flags)
                    : sys_3(SYS_writev, fd, iov, count);
}

/* So much of the array as the descriptor takes for sure, of which there is more. */
static long write_piece(struct os_write *w, int fd, const struct iovec *iov, size_t room)
{
    while (!iov->iov_len)
        iov++;
    struct iovec piece = {iov->iov_base, iov->iov_len < room ? iov->iov_len : room};
    w->io.asked = piece.iov_len;
    return write_plain(w, fd, &piece, 1);
}

/* For descriptors that have to be ready before they are written: a pipe gets in pieces what it may
 * have no room for, a terminal must get all in one call, lest others write in between. */
static long write_when_ready(struct os_write *w, int fd, const struct iovec *iov, int count)
{
    size_t room = write_room(w->entry);
    if (iotry_nonblocking(w->entry, fd))
        return write_plain(w, fd, iov, count);
    if (!iotry_poll(fd, POLLOUT))
        return open_beyond(fd, O_RDONLY) ? -EAGAIN : write_plain(w, fd, iov, count);
    if (room == SIZE_MAX || (size_t)iovec_length(iov, count) <= room)
        return write_plain(w, fd, iov, count);
    return is_kind(w->entry, FD_TTY)
               ? blocking_syscall(true, SYS_writev, fd, (long)iov, count, 0, 0, 0)
               : write_piece(w, fd, iov, room);
}

/* For sockets before Linux 6.4. A write to SOCK_SEQPACKET is a whole record. */
static long write_socket(const struct os_write *w, int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    int type = 0, flags = MSG_DONTWAIT | (w->io.done ? MSG_NOSIGNAL : 0);
    socklen_t len = sizeof type;
    if (!sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_SEQPACKET)
        flags |= MSG_EOR;
    return sys_3(SYS_sendmsg, fd, &msg, flags);
}

static long write_once(struct os_write *w, int fd, const struct iovec *iov, int count, bool now)
{
    struct iotry *t = &w->io;
    if (!now)
        return blocking_syscall(true, SYS_pwritev2, fd, (long)iov, count, -1, -1, w->flags);
    unsigned known = iotry_flags(w->entry);
    if (known & FD_STREAM && t->flags & IOTRY_SOCKET && w->one) {
        long n = sys_6(SYS_sendto, fd, iov->iov_base, iov->iov_len,
                       MSG_DONTWAIT | (t->done ? MSG_NOSIGNAL : 0), NULL, 0);
        if (__builtin_expect(n != -ENOTSOCK, 1))
            return n;
        iotry_forget(w->entry);
        t->flags &= (uint8_t) ~(IOTRY_SOCKET | IOTRY_SENDS);
    }
    if (!w->one || !(known & FD_WRITE_READY)) {
        long n = sys_6(SYS_pwritev2, fd, iov, count, -1, -1, w->flags | RWF_NOWAIT);
        if (__builtin_expect(n != -EOPNOTSUPP && n != -ENOSYS, 1))
            return n;
        atomic_fetch_or_explicit(&w->entry->flags, FD_WRITE_READY, memory_order_relaxed);
    }
    return t->flags & IOTRY_SOCKET ? write_socket(w, fd, iov, count)
                                   : write_when_ready(w, fd, iov, count);
}

static long write_attempt(struct iotry *t, int fd, bool now)
{
    struct os_write *w = (struct os_write *)t;
    struct iovec part;
    int count = w->count;
    const struct iovec *iov = iovec_rest(w->iov, &count, t->done, &part);
    t->asked = 0; /* unless it is a piece */
    long n = write_once(w, fd, iov, count, now);
    if (n < 0 && n != -EAGAIN)
        return n;
    size_t len = (size_t)iovec_length(iov, count);
    if (t->want == IOTRY_UNKNOWN)
        t->want = len;
    if (!t->asked)
        t->asked = len;
    return n;
}

static ssize_t os_write(int fd, const struct iovec *iov, int count, int flags, bool one)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e || is_kind(e, FD_FILE))
        return file_writev(fd, iov, count, -1, flags);
    bool all = iotry_flags(e) & FD_STREAM || is_kind(e, FD_TTY);
    struct os_write w = {
        .io = {.attempt = write_attempt,
               .fd = fd,
               .events = IO_WRITE,
               .flags = is_kind(e, FD_SOCKET) ? IOTRY_SOCKET | IOTRY_SENDS : 0,
               .timeout = -EAGAIN,
               .want = all ? IOTRY_UNKNOWN : 0,
               .deadline = DEADLINE_NEVER},
        .entry = e,
        .iov = iov,
        .count = count,
        .flags = flags,
        .one = one,
    };
    return iotry_result(iotry(&w.io, e));
}

ssize_t green_write(int fd, const void *buf, size_t len)
{
    PASS_UNLESS_GREEN(write, fd, buf, len);
    struct iovec iov = {(void *)(uintptr_t)buf, len < IOTRY_MOST ? len : IOTRY_MOST};
    return len && len <= SSIZE_MAX ? os_write(fd, &iov, 1, 0, true) : real.write(fd, buf, len);
}

ssize_t green_writev(int fd, const struct iovec *iov, int count)
{
    PASS_UNLESS_GREEN(writev, fd, iov, count);
    return os_write(fd, iov, count, 0, false);
}

ssize_t green_pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    PASS_UNLESS_GREEN(pwritev2, fd, iov, count, at, flags);
    if (flags_final(flags))
        return real.pwritev2(fd, iov, count, at, flags);
    return at == -1 ? os_write(fd, iov, count, flags, false)
                    : file_writev(fd, iov, count, at, flags);
}

int green_eventfd_write(int fd, eventfd_t value)
{
    PASS_UNLESS_GREEN(eventfd_write, fd, value);
    struct iovec iov = {&value, sizeof value};
    return os_write(fd, &iov, 1, 0, true) == sizeof value ? 0 : -1;
}
