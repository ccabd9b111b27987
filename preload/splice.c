/* Data moved between descriptors inside the kernel.
 *
 * These calls have two ends, and no flag that keeps both from blocking: SPLICE_F_NONBLOCK counts
 * for pipes. So both ends are waited for; then the call is made with O_NONBLOCK set for its length
 * where the description is this process's alone, and with the hub handed off where it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>

#include "blocking.h"
#include "cancel.h"
#include "iotry.h"
#include "patch.h"
#include "signal.h"

enum { LIES = 2 }; /* tries in vain before the kernel itself waits */

/* A system call that may block on `fd`, but must not now. */
static long call_at_once(const struct fd_entry *e, int fd, const long a[6], long number)
{
    if (iotry_nonblocking(e, fd))
        return sys_6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    long status = sys_3(SYS_fcntl, fd, F_GETFL, 0);
    if (status < 0)
        return status;
    sys_3(SYS_fcntl, fd, F_SETFL, status | O_NONBLOCK);
    long r = sys_6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    sys_3(SYS_fcntl, fd, F_SETFL, status);
    return r;
}

static long call_blocking(const long a[6], long number)
{
    return blocking_syscall(true, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- Waiting for one end ---- */

static long ready_attempt(struct iotry *t, int fd, bool now)
{
    (void)now;
    return iotry_poll(fd, t->events == IO_READ ? POLLIN : POLLOUT) ? 1 : -EAGAIN;
}

/* 1 when the descriptor is ready; -EAGAIN when it is not, and the program does not want to wait.
 * What is not open is ready: the call says so. */
static long end_ready(int fd, int events, bool wait)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e || iotry_kind(e) == FD_FILE || iotry_kind(e) == FD_UNKNOWN)
        return 1;
    struct iotry t = {.attempt = ready_attempt,
                      .fd = fd,
                      .events = (uint8_t)events,
                      .flags = (uint8_t)((iotry_kind(e) == FD_SOCKET ? IOTRY_SOCKET : 0) |
                                         (wait ? 0 : IOTRY_DONTWAIT)),
                      .timeout = -EAGAIN,
                      .want = 1,
                      .deadline = DEADLINE_NEVER};
    return iotry(&t, e);
}

/* ---- sendfile ---- */

struct sendfile_call {
    struct iotry io;
    struct fd_entry *entry;
    int in;
    off_t *at;
    size_t count;
};

/* What is done is asked for again at once: only the kernel knows where the file ends. */
static long sendfile_attempt(struct iotry *t, int fd, bool now)
{
    struct sendfile_call *c = (struct sendfile_call *)t;
    const long args[6] = {fd, c->in, (long)c->at, (long)(c->count - t->done), 0, 0};
    long r;
    if (now && iotry_flags(c->entry) & FD_OURS)
        r = call_at_once(c->entry, fd, args, SYS_sendfile);
    else if (now && !iotry_poll(fd, POLLOUT))
        r = -EAGAIN;
    else
        r = call_blocking(args, SYS_sendfile);
    t->asked = r > 0 ? (size_t)r : 0;
    return r;
}

ssize_t green_sendfile(int out, int in, off_t *at, size_t count)
{
    PASS_UNLESS_GREEN(sendfile, out, in, at, count);
    struct fd_entry *e = iotry_known(out);
    if (!e || iotry_kind(e) == FD_FILE || iotry_kind(e) == FD_UNKNOWN)
        return real.sendfile(out, in, at, count);
    struct sendfile_call c = {
        .io = {.attempt = sendfile_attempt,
               .fd = out,
               .events = IO_WRITE,
               .flags =
                   (uint8_t)(IOTRY_NO_CANCEL | (iotry_kind(e) == FD_SOCKET ? IOTRY_SOCKET : 0)),
               .timeout = -EAGAIN,
               .want = count,
               .deadline = DEADLINE_NEVER},
        .entry = e,
        .in = in,
        .at = at,
        .count = count,
    };
    return iotry_result(iotry(&c.io, e));
}

/* ---- splice, tee, vmsplice ---- */

/* The end for which SPLICE_F_NONBLOCK is not enough; -1: there is none, or the call fails at once.
 */
static int splice_other(int in, int out)
{
    const int ends[] = {in, out};
    for (int i = 0; i < 2; i++) {
        struct fd_entry *e = iotry_known(ends[i]);
        enum fd_kind kind = e ? iotry_kind(e) : FD_UNKNOWN;
        if (kind != FD_PIPE && kind != FD_FILE && kind != FD_UNKNOWN)
            return ends[i];
    }
    return -1;
}

/* `now` and `later`: the arguments with and without SPLICE_F_NONBLOCK. */
static ssize_t splice_ends(int in, int out, const long now[6], const long later[6], long number,
                           bool wait)
{
    int other = splice_other(in, out);
    bool shared = other >= 0 && !(iotry_flags(fd_entry(other)) & FD_OURS);
    cancel_act();
    for (int lies = 0;; lies++) {
        long r = -EAGAIN;
        if (other < 0)
            r = sys_6(number, now[0], now[1], now[2], now[3], now[4], now[5]);
        else if (!shared)
            r = call_at_once(fd_entry(other), other, now, number);
        signal_of_call(r);
        if (r != -EAGAIN || (!wait && !shared))
            return iotry_result(r);
        r = end_ready(in, IO_READ, wait);
        if (r > 0)
            r = end_ready(out, IO_WRITE, wait);
        if (r < 0)
            return iotry_result(r);
        if (shared || lies == LIES)
            return iotry_result(call_blocking(later, number));
    }
}

ssize_t green_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
    PASS_UNLESS_GREEN(splice, in, in_at, out, out_at, len, flags);
    const long later[6] = {in, (long)in_at, out, (long)out_at, (long)len, flags};
    const long now[6] = {in, (long)in_at, out, (long)out_at, (long)len, flags | SPLICE_F_NONBLOCK};
    return splice_ends(in, out, now, later, SYS_splice, !(flags & SPLICE_F_NONBLOCK));
}

ssize_t green_tee(int in, int out, size_t len, unsigned flags)
{
    PASS_UNLESS_GREEN(tee, in, out, len, flags);
    const long later[6] = {in, out, (long)len, flags};
    const long now[6] = {in, out, (long)len, flags | SPLICE_F_NONBLOCK};
    return splice_ends(in, out, now, later, SYS_tee, !(flags & SPLICE_F_NONBLOCK));
}

/* Into a pipe, or out of it: as the descriptor is open. */
ssize_t green_vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
    PASS_UNLESS_GREEN(vmsplice, fd, iov, count, flags);
    bool wait = !(flags & SPLICE_F_NONBLOCK);
    long status = sys_3(SYS_fcntl, fd, F_GETFL, 0);
    bool reads = (status & O_ACCMODE) == O_RDONLY;
    long r = sys_4(SYS_vmsplice, fd, iov, count, flags | SPLICE_F_NONBLOCK);
    signal_of_call(r);
    if (r != -EAGAIN || !wait || status & O_NONBLOCK)
        return iotry_result(r);
    r = end_ready(fd, reads ? IO_READ : IO_WRITE, wait);
    if (r > 0)
        r = sys_4(SYS_vmsplice, fd, iov, count, flags | SPLICE_F_NONBLOCK);
    if (r == -EAGAIN)
        r = blocking_syscall(false, SYS_vmsplice, fd, (long)iov, (long)count, flags, 0, 0);
    return iotry_result(r);
}
