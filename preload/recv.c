/* Receiving on sockets. */
#include <sys/socket.h>

#include "blocking.h"
#include "fd.h"
#include "iotry.h"
#include "iovec.h"
#include "patch.h"

/* Never wait, whatever the socket's mode: out-of-band data and the error queue. */
enum { RECV_NEVER_WAITS = MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE };

/* What all forms share. MSG_WAITALL means something on streams only. */
static inline struct iotry recv_io(iotry_attempt *attempt, int fd, const struct fd_entry *e, size_t len,
                            int flags)
{
    bool all = flags & MSG_WAITALL && !(flags & MSG_PEEK) && iotry_flags(e) & FD_STREAM;
    bool drains = !(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE));
    return (struct iotry){
        .attempt = attempt,
        .fd = fd,
        .events = IO_READ,
        .flags = (uint8_t)(IOTRY_SOCKET | (drains ? IOTRY_DRAINS : 0) |
                           (flags & RECV_NEVER_WAITS ? IOTRY_DONTWAIT : 0)),
        .timeout = -EAGAIN,
        .want = all ? len : 1,
        .asked = len,
        .deadline = DEADLINE_NEVER,
    };
}

/* Must the kernel itself wait? A peek at more than is there finds the socket ready. */
static inline bool recv_blocks(const struct fd_entry *e, int fd, int flags)
{
    enum { PEEK_ALL = MSG_PEEK | MSG_WAITALL };
    if (flags & RECV_NEVER_WAITS)
        return false;
    return iotry_low_water(e, fd) || ((flags & PEEK_ALL) == PEEK_ALL &&
                                      iotry_flags(e) & FD_STREAM && !iotry_nonblocking(e, fd));
}

/* ---- One buffer ---- */

struct recv_call {
    struct iotry io;
    char *buf;
    size_t len;
    int flags;
    struct sockaddr *addr;
    socklen_t *addr_len;
};

static inline long recv_attempt(struct iotry *t, int fd, bool now)
{
    struct recv_call *c = (struct recv_call *)t;
    t->asked = c->len - t->done;
    if (!now)
        return blocking_syscall(true, SYS_recvfrom, fd, (long)(c->buf + t->done), (long)t->asked,
                                c->flags, (long)c->addr, (long)c->addr_len);
    return sys_6(SYS_recvfrom, fd, c->buf + t->done, t->asked, c->flags | MSG_DONTWAIT, c->addr,
                 c->addr_len);
}

static ssize_t recv_from(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                         socklen_t *addr_len)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e)
        return real.recvfrom(fd, buf, len, flags, addr, addr_len);
    if (recv_blocks(e, fd, flags))
        return iotry_result(blocking_syscall(true, SYS_recvfrom, fd, (long)buf, (long)len, flags,
                                             (long)addr, (long)addr_len));
    if (len > IOTRY_MOST)
        len = IOTRY_MOST;
    struct recv_call c = {
        .io = recv_io(recv_attempt, fd, e, len, flags),
        .buf = buf,
        .len = len,
        .flags = flags,
        .addr = addr,
        .addr_len = addr_len,
    };
    return iotry_result(iotry(&c.io, e));
}

ssize_t green_recv(int fd, void *buf, size_t len, int flags)
{
    PASS_UNLESS_GREEN(recv, fd, buf, len, flags);
    return recv_from(fd, buf, len, flags, NULL, NULL);
}

ssize_t green_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                       socklen_t *addr_len)
{
    PASS_UNLESS_GREEN(recvfrom, fd, buf, len, flags, addr, addr_len);
    return recv_from(fd, buf, len, flags, addr, addr_len);
}

/* ---- Messages ---- */

struct recvmsg_call {
    struct iotry io;
    struct msghdr *msg;
    int flags;
};

/* Past the first bytes of a MSG_WAITALL only data is wanted: the name has been given. */
static long recvmsg_more(struct recvmsg_call *c, int fd)
{
    struct iovec part;
    int count = (int)c->msg->msg_iovlen;
    struct msghdr rest = {.msg_iov = (struct iovec *)(uintptr_t)iovec_rest(c->msg->msg_iov, &count,
                                                                           c->io.done, &part)};
    rest.msg_iovlen = (size_t)count;
    c->io.asked = (size_t)iovec_length(rest.msg_iov, count);
    long r = sys_3(SYS_recvmsg, fd, &rest, c->flags | MSG_DONTWAIT);
    if (r >= 0)
        c->msg->msg_flags = rest.msg_flags;
    return r;
}

static long recvmsg_attempt(struct iotry *t, int fd, bool now)
{
    struct recvmsg_call *c = (struct recvmsg_call *)t;
    if (t->done)
        return recvmsg_more(c, fd);
    if (!now)
        return blocking_syscall(true, SYS_recvmsg, fd, (long)c->msg, c->flags, 0, 0, 0);
    long r = sys_3(SYS_recvmsg, fd, c->msg, c->flags | MSG_DONTWAIT);
    if (r > 0)
        t->asked = (size_t)iovec_length(c->msg->msg_iov, (int)c->msg->msg_iovlen);
    return r;
}

/* How much a MSG_WAITALL waits for. Descriptors that come with the data end it where they lie,
 * which only the kernel knows: then -1. */
static ssize_t recvmsg_all(const struct msghdr *msg)
{
    return msg->msg_control || msg->msg_iovlen > IOV_MAX
               ? -1
               : iovec_length(msg->msg_iov, (int)msg->msg_iovlen);
}

ssize_t green_recvmsg(int fd, struct msghdr *msg, int flags)
{
    PASS_UNLESS_GREEN(recvmsg, fd, msg, flags);
    struct fd_entry *e = iotry_known(fd);
    ssize_t len = flags & MSG_WAITALL && !(flags & RECV_NEVER_WAITS) ? recvmsg_all(msg) : 1;
    long r;
    if (!e)
        return real.recvmsg(fd, msg, flags);
    if (len < 0 || recv_blocks(e, fd, flags)) {
        r = blocking_syscall(true, SYS_recvmsg, fd, (long)msg, flags, 0, 0, 0);
    } else {
        struct recvmsg_call c = {
            .io = recv_io(recvmsg_attempt, fd, e, (size_t)len, flags),
            .msg = msg,
            .flags = flags,
        };
        r = iotry(&c.io, e);
    }
    if (r >= 0 && msg->msg_controllen)
        fd_received(msg);
    return iotry_result(r);
}

struct recvmmsg_call {
    struct iotry io;
    struct mmsghdr *msgs;
    size_t count;
    int flags;
    bool each; /* one at a time */
};

static long recvmmsg_attempt(struct iotry *t, int fd, bool now)
{
    struct recvmmsg_call *c = (struct recvmmsg_call *)t;
    struct mmsghdr *rest = c->msgs + t->done;
    t->asked = c->each ? 1 : c->count - t->done;
    if (!now)
        return blocking_syscall(true, SYS_recvmmsg, fd, (long)rest, (long)t->asked,
                                c->flags | MSG_WAITFORONE, 0, 0);
    return sys_5(SYS_recvmmsg, fd, rest, t->asked, c->flags | MSG_DONTWAIT, NULL);
}

/* The unit of this call is a message. As the kernel does, the time-out is looked at only between
 * messages (recvmmsg(2), BUGS). */
int green_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags,
                   struct timespec *timeout)
{
    PASS_UNLESS_GREEN(recvmmsg, fd, msgs, count, flags, timeout);
    struct fd_entry *e = iotry_known(fd);
    if (!e || !count || (timeout && !timespec_valid(timeout)))
        return real.recvmmsg(fd, msgs, count, flags, timeout);
    if (recv_blocks(e, fd, flags))
        return (int)iotry_result(
            blocking_syscall(true, SYS_recvmmsg, fd, (long)msgs, count, flags, (long)timeout, 0));
    int64_t until = timeout ? deadline_after(timespec_ns(timeout)) : DEADLINE_NEVER;
    struct recvmmsg_call c = {
        .io = recv_io(recvmmsg_attempt, fd, e, 1, flags & ~MSG_WAITALL),
        .msgs = msgs,
        .count = count,
        .flags = flags & ~MSG_WAITFORONE,
        .each = timeout,
    };
    c.io.flags &= (uint8_t)~IOTRY_DRAINS;
    long r;
    size_t before;
    do {
        before = c.io.done;
        c.io.want = before + 1;
        r = iotry(&c.io, e);
    } while (c.io.done > before && c.io.done < count && !(flags & MSG_WAITFORONE) &&
             clock_now() < until);
    if (timeout && r > 0) {
        int64_t left = until - clock_now();
        left = left > 0 ? left : 0;
        *timeout = (struct timespec){left / 1000000000, left % 1000000000};
    }
    for (size_t i = 0; i < c.io.done; i++)
        if (msgs[i].msg_hdr.msg_controllen)
            fd_received(&msgs[i].msg_hdr);
    return (int)iotry_result(r);
}
