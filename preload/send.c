/* Sending on sockets. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "blocking.h"
#include "fd.h"
#include "iotry.h"
#include "iovec.h"
#include "patch.h"

/* What all forms share. A stream takes a message in parts, all else takes it whole. */
static inline struct iotry send_io(iotry_attempt *attempt, int fd, const struct fd_entry *e, size_t len,
                            int flags)
{
    return (struct iotry){
        .attempt = attempt,
        .fd = fd,
        .events = IO_WRITE,
        .flags =
            (uint8_t)(IOTRY_SOCKET | IOTRY_SENDS | (flags & MSG_DONTWAIT ? IOTRY_DONTWAIT : 0)),
        .timeout = -EAGAIN,
        .want = iotry_flags(e) & FD_STREAM ? len : 0,
        .asked = len,
        .deadline = DEADLINE_NEVER,
    };
}

/* A signal for a broken connection goes with the call that fails, not with one that did a part. */
static int send_flags(const struct iotry *t, int flags)
{
    return flags | MSG_DONTWAIT | (t->done ? MSG_NOSIGNAL : 0);
}

/* MSG_FASTOPEN connects first; the kernel waits for that. */
static bool send_blocks(const struct fd_entry *e, int fd, int flags)
{
    return __builtin_expect(flags & MSG_FASTOPEN, 0) && !(flags & MSG_DONTWAIT) &&
           !iotry_nonblocking(e, fd);
}

/* ---- One buffer ---- */

struct send_call {
    struct iotry io;
    const char *buf;
    size_t len;
    int flags;
    const struct sockaddr *addr;
    socklen_t addr_len;
};

static inline long send_attempt(struct iotry *t, int fd, bool now)
{
    struct send_call *c = (struct send_call *)t;
    const char *rest = c->buf + t->done;
    t->asked = c->len - t->done;
    if (!now)
        return blocking_syscall(true, SYS_sendto, fd, (long)rest, (long)t->asked, c->flags,
                                (long)c->addr, c->addr_len);
    return sys_6(SYS_sendto, fd, rest, t->asked, send_flags(t, c->flags), c->addr, c->addr_len);
}

static ssize_t send_to(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
                       socklen_t addr_len)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e)
        return real.sendto(fd, buf, len, flags, addr, addr_len);
    if (send_blocks(e, fd, flags))
        return iotry_result(blocking_syscall(true, SYS_sendto, fd, (long)buf, (long)len, flags,
                                             (long)addr, addr_len));
    if (len > IOTRY_MOST)
        len = IOTRY_MOST;
    struct send_call c = {
        .io = send_io(send_attempt, fd, e, len, flags),
        .buf = buf,
        .len = len,
        .flags = flags,
        .addr = addr,
        .addr_len = addr_len,
    };
    return iotry_result(iotry(&c.io, e));
}

ssize_t green_send(int fd, const void *buf, size_t len, int flags)
{
    PASS_UNLESS_GREEN(send, fd, buf, len, flags);
    return send_to(fd, buf, len, flags, NULL, 0);
}

ssize_t green_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
                     socklen_t addr_len)
{
    PASS_UNLESS_GREEN(sendto, fd, buf, len, flags, addr, addr_len);
    return send_to(fd, buf, len, flags, addr, addr_len);
}

/* ---- Messages ---- */

struct sendmsg_call {
    struct iotry io;
    const struct msghdr *msg;
    int flags;
};

static long sendmsg_once(const struct sendmsg_call *c, int fd, const struct msghdr *msg, bool now)
{
    if (!now)
        return blocking_syscall(true, SYS_sendmsg, fd, (long)msg, c->flags, 0, 0, 0);
    return sys_3(SYS_sendmsg, fd, msg, send_flags(&c->io, c->flags));
}

/* Control data went with the first bytes. */
static long sendmsg_more(struct sendmsg_call *c, int fd, bool now)
{
    struct msghdr rest = *c->msg;
    struct iovec part;
    int count = (int)rest.msg_iovlen;
    rest.msg_iov = (struct iovec *)(uintptr_t)iovec_rest(rest.msg_iov, &count, c->io.done, &part);
    rest.msg_iovlen = (size_t)count;
    rest.msg_control = NULL;
    rest.msg_controllen = 0;
    c->io.asked = (size_t)iovec_length(rest.msg_iov, count);
    return sendmsg_once(c, fd, &rest, now);
}

static long sendmsg_attempt(struct iotry *t, int fd, bool now)
{
    struct sendmsg_call *c = (struct sendmsg_call *)t;
    if (t->done)
        return sendmsg_more(c, fd, now);
    long r = sendmsg_once(c, fd, c->msg, now);
    if (t->want == IOTRY_UNKNOWN && (r >= 0 || r == -EAGAIN)) {
        t->want = (size_t)iovec_length(c->msg->msg_iov, (int)c->msg->msg_iovlen);
        t->asked = t->want;
    }
    return r;
}

static long send_message(int fd, struct fd_entry *e, const struct msghdr *msg, int flags)
{
    if (send_blocks(e, fd, flags))
        return blocking_syscall(true, SYS_sendmsg, fd, (long)msg, flags, 0, 0, 0);
    struct sendmsg_call c = {
        .io = send_io(sendmsg_attempt, fd, e, IOTRY_UNKNOWN, flags),
        .msg = msg,
        .flags = flags,
    };
    return iotry(&c.io, e);
}

/* Descriptors have gone with the message. */
static void sent(const struct msghdr *msg)
{
    if (msg->msg_controllen)
        fd_sent(msg);
}

ssize_t green_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    bool native = patch_passes(PATCH_sendmsg);
    struct fd_entry *e = native ? NULL : iotry_known(fd);
    ssize_t r = e ? iotry_result(send_message(fd, e, msg, flags)) : real.sendmsg(fd, msg, flags);
    if (r >= 0)
        sent(msg);
    return r;
}

struct sendmmsg_call {
    struct iotry io;
    struct mmsghdr *msgs;
    size_t count;
    int flags;
};

static long sendmmsg_attempt(struct iotry *t, int fd, bool now)
{
    struct sendmmsg_call *c = (struct sendmmsg_call *)t;
    struct mmsghdr *rest = c->msgs + t->done;
    t->asked = c->count - t->done;
    if (!now)
        return blocking_syscall(true, SYS_sendmmsg, fd, (long)rest, 1, c->flags, 0, 0);
    return sys_4(SYS_sendmmsg, fd, rest, t->asked, c->flags | MSG_DONTWAIT);
}

/* A stream's messages may each be sent in parts, so each is a sendmsg. */
static long send_messages(int fd, struct fd_entry *e, struct mmsghdr *msgs, size_t count, int flags)
{
    for (size_t i = 0; i < count; i++) {
        long r = send_message(fd, e, &msgs[i].msg_hdr, flags);
        if (r < 0)
            return i ? (long)i : r;
        msgs[i].msg_len = (unsigned)r;
    }
    return (long)count;
}

static int sendmmsg_green(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e || !count)
        return real.sendmmsg(fd, msgs, count, flags);
    if (count > IOV_MAX)
        count = IOV_MAX; /* as the kernel does */
    if (iotry_flags(e) & FD_STREAM)
        return (int)iotry_result(send_messages(fd, e, msgs, count, flags));
    struct sendmmsg_call c = {
        .io = send_io(sendmmsg_attempt, fd, e, count, flags),
        .msgs = msgs,
        .count = count,
        .flags = flags,
    };
    c.io.want = count;
    return (int)iotry_result(iotry(&c.io, e));
}

/* The unit of this call is a message. */
int green_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
    bool native = patch_passes(PATCH_sendmmsg);
    int n = native ? real.sendmmsg(fd, msgs, count, flags) : sendmmsg_green(fd, msgs, count, flags);
    for (int i = 0; i < n; i++)
        sent(&msgs[i].msg_hdr);
    return n;
}
