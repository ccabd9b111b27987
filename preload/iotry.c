/* Try, wait, try again: see iotry.h. */
#include "iotry.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <asm/termbits.h>

#include "signal.h"

__thread unsigned iotry_run;

enum {
    /* So many wakes in vain, and the kernel itself waits: the descriptor cannot be watched, or says
     * that it is ready and is not (which counts LIE times). Another may also have been faster. */
    VAIN = 16,
    LIE = 8,
};

/* ---- What kind of descriptor is this? ---- */

static enum fd_kind kind_of(int fd, const struct stat *st, int *flags)
{
    struct termios termios;
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFBLK:
    case S_IFLNK:
        return FD_FILE;
    case S_IFIFO:
        *flags = FD_STREAM;
        return FD_PIPE;
    case S_IFSOCK: {
        int type = 0;
        socklen_t len = sizeof type;
        if (!sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM)
            *flags = FD_STREAM;
        return FD_SOCKET;
    }
    case S_IFCHR:
        if (sys_3(SYS_ioctl, fd, TCGETS, &termios))
            return FD_OTHER;
        *flags = FD_READ_READY | FD_WRITE_READY;
        return FD_TTY;
    default:
        return FD_OTHER;
    }
}

static void learn(struct fd_entry *e, int fd)
{
    struct stat st;
    int flags = 0;
    if (sys_2(SYS_fstat, fd, &st))
        return;
    enum fd_kind kind = kind_of(fd, &st, &flags);
    atomic_fetch_or_explicit(&e->flags, (uint8_t)flags, memory_order_relaxed);
    atomic_store_explicit(&e->kind, (uint8_t)kind, memory_order_relaxed);
}

struct fd_entry *iotry_known(int fd)
{
    struct fd_entry *e = fd_entry(fd);
    if (__builtin_expect(e && iotry_kind(e) == FD_UNKNOWN, 0))
        learn(e, fd);
    return e;
}

void iotry_forget(struct fd_entry *e)
{
    atomic_store_explicit(&e->flags, 0, memory_order_relaxed);
    atomic_store_explicit(&e->options, 0, memory_order_relaxed);
    atomic_store_explicit(&e->kind, FD_UNKNOWN, memory_order_relaxed);
}

/* ---- Questions to the kernel ---- */

bool iotry_nonblocking(const struct fd_entry *e, int fd)
{
    unsigned flags = iotry_flags(e);
    if (flags & FD_OURS)
        return flags & FD_NONBLOCK;
    long status = sys_3(SYS_fcntl, fd, F_GETFL, 0);
    return status >= 0 && status & O_NONBLOCK;
}

int iotry_poll(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    struct timespec zero = {0, 0};
    return sys_5(SYS_ppoll, &p, 1, &zero, NULL, 0) > 0 ? p.revents : 0;
}

static short poll_events(const struct iotry *t)
{
    return t->events == IO_READ ? POLLIN : POLLOUT;
}

static unsigned options_of(const struct fd_entry *e)
{
    return atomic_load_explicit(&e->options, memory_order_relaxed);
}

bool iotry_low_water(const struct fd_entry *e, int fd)
{
    return __builtin_expect(options_of(e) & FD_RCVLOWAT, 0) && iotry_flags(e) & FD_STREAM &&
           !iotry_nonblocking(e, fd);
}

/* The socket's own time-out; true when it has one. */
static bool socket_deadline(struct iotry *t, const struct fd_entry *e, int fd)
{
    bool reads = t->events == IO_READ;
    unsigned options = options_of(e);
    if (iotry_flags(e) & FD_OURS && !(options & (reads ? FD_RCVTIMEO : FD_SNDTIMEO)))
        return false;
    if (options & (reads ? FD_RCVNOW : FD_SNDNOW)) {
        t->deadline = 0;
        return true;
    }
    struct timeval tv;
    socklen_t len = sizeof tv;
    if (sys_5(SYS_getsockopt, fd, SOL_SOCKET, reads ? SO_RCVTIMEO : SO_SNDTIMEO, &tv, &len) ||
        (!tv.tv_sec && !tv.tv_usec))
        return false;
    struct timespec ts = {tv.tv_sec, tv.tv_usec * 1000};
    t->deadline = deadline_after(timespec_ns(&ts));
    return true;
}

/* An error that waits on a socket belongs to the program's next call once this one has done
 * something: an attempt would take it away. */
static bool error_left(const struct iotry *t, int fd)
{
    if (!(t->flags & IOTRY_SOCKET))
        return false;
    int ready = iotry_poll(fd, poll_events(t));
    if (t->events == IO_WRITE)
        return ready & (POLLERR | POLLHUP);
    int queued = 0;
    return ready & POLLERR && !sys_3(SYS_ioctl, fd, FIONREAD, &queued) && !queued;
}

/* Who sleeps in a send finds the socket's error when he wakes, where a new call finds a broken
 * pipe. */
static long error_found(const struct iotry *t, int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (!(t->flags & IOTRY_SENDS) || !(iotry_poll(fd, POLLOUT) & POLLERR))
        return 0;
    sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return -error;
}

/* ---- The call ---- */

/* An attempt after the first; and what every one that failed must see to before there is a switch. */
static long try_again(struct iotry *t, int fd, bool now)
{
    long r = t->attempt(t, fd, now);
    signal_of_call(r);
    return r;
}

/* May the call wait at all? Asked once, when it would have to. */
static bool may_wait(struct iotry *t, struct fd_entry *e, int fd)
{
    if (t->flags & IOTRY_DONTWAIT || (!(t->flags & IOTRY_BLOCKS) && iotry_nonblocking(e, fd)))
        return false;
    if (t->flags & IOTRY_SOCKET && socket_deadline(t, e, fd))
        t->flags |= IOTRY_NO_RESTART;
    return true;
}

/* What the end of a wait means: 0 to try again, else the result when nothing has been done. */
static long wait_ended(struct iotry *t, enum wait_result w, int *fd)
{
    switch (w) {
    case WAIT_TIMED_OUT:
        return t->timeout ? t->timeout : 1;
    case WAIT_INTERRUPTED:
        return -EINTR;
    case WAIT_RESTARTED:
        if (t->flags & IOTRY_NO_RESTART || t->done)
            return -EINTR;
        /* The kernel restarts a call with the number, whatever that is by now. */
        io_wait_done(*fd, t->fd);
        *fd = t->fd;
        return 0;
    case WAIT_CANCELLED:
        io_wait_done(*fd, t->fd);
        *fd = t->fd;
        cancel_act();
        return 0;
    default:
        return 0;
    }
}

/* From the first wait on. *fd becomes the duplicate when the program closes the number. */
static long wait_and_try(struct iotry *t, struct fd_entry *e, int *fd)
{
    int by = WAIT_BY_SIGNAL | (t->flags & IOTRY_NO_CANCEL ? 0 : WAIT_BY_CANCEL);
    int vain = 0;
    for (;;) {
        t->waited = true;
        long r = wait_ended(t, io_wait(fd, t->events, t->deadline, by), fd);
        if (r)
            return t->done ? (long)t->done : r > 0 ? 0 : r;
        if (t->done && error_left(t, *fd))
            return (long)t->done;
        if (!t->done && (r = error_found(t, *fd)))
            return r;
        do {
            r = try_again(t, *fd, vain < VAIN);
            if (r <= 0)
                break;
            t->done += (size_t)r;
            vain = 0;
        } while (t->done < t->want && (size_t)r == t->asked);
        if (r != -EAGAIN && (r <= 0 || t->done >= t->want)) {
            if (*fd == t->fd)
                iotry_drained(t, e, iotry_flags(e), r);
            return t->done ? (long)t->done : r;
        }
        if (r == -EAGAIN) {
            if (vain >= VAIN)
                return r; /* the call itself, blocking, says so */
            vain += iotry_poll(*fd, poll_events(t)) ? LIE : 1;
        }
    }
}

long iotry_wait(struct iotry *t, struct fd_entry *e)
{
    int fd = t->fd;
    if (!may_wait(t, e, fd)) {
        if (t->done)
            return (long)t->done;
        green_futile();
        return -EAGAIN;
    }
    long r = wait_and_try(t, e, &fd);
    io_wait_done(fd, t->fd);
    return r;
}

long iotry_more(struct iotry *t, struct fd_entry *e, long r)
{
    signal_of_call(r);
    while (r > 0 && t->done < t->want && (size_t)r == t->asked) {
        r = try_again(t, t->fd, true);
        if (r > 0)
            t->done += (size_t)r;
    }
    if (r == -EAGAIN || (r > 0 && t->done < t->want))
        return iotry_wait(t, e);
    iotry_drained(t, e, iotry_flags(e), r);
    iotry_ran();
    return t->done ? (long)t->done : r;
}
