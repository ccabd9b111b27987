/* Accepting connections.
 *
 * accept(2) has no flag that says not to wait, and O_NONBLOCK is not ours to set: so the listener
 * is asked first. On one that is this process's alone the call then finds a connection. Another
 * process may be faster on a shared one: there the hub is handed off for the call.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "blocking.h"
#include "cancel.h"
#include "fd.h"
#include "iotry.h"
#include "patch.h"

struct accept_call {
    struct iotry io;
    struct fd_entry *entry;
    struct sockaddr *addr;
    socklen_t *len;
    int flags;
};

static long accept_now(struct accept_call *c, int fd)
{
    return sys_4(SYS_accept4, fd, c->addr, c->len, c->flags);
}

static long accept_blocking(struct accept_call *c, int fd)
{
    return blocking_syscall(true, SYS_accept4, fd, (long)c->addr, (long)c->len, c->flags, 0, 0);
}

/* What does not listen will never be ready; the call says what is wrong with it. */
static bool accept_fails(int fd)
{
    int listens = 0;
    socklen_t len = sizeof listens;
    return sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) || !listens;
}

static long accept_attempt(struct iotry *t, int fd, bool now)
{
    struct accept_call *c = (struct accept_call *)t;
    unsigned known = iotry_flags(c->entry);
    if (!now)
        return accept_blocking(c, fd);
    if (!iotry_poll(fd, POLLIN))
        return accept_fails(fd) ? accept_now(c, fd) : -EAGAIN;
    return known & FD_OURS ? accept_now(c, fd) : accept_blocking(c, fd);
}

/* A new connection has what its listener had: the kind, and (on TCP) the options. */
static int accept_made(const struct fd_entry *listener, int fd, int flags)
{
    enum { ALL = FD_RCVTIMEO | FD_SNDTIMEO | FD_RCVLOWAT };
    if (fd < 0)
        return fd;
    unsigned known = listener ? iotry_flags(listener) : 0;
    enum fd_kind kind = listener ? iotry_kind(listener) : FD_UNKNOWN;
    fd_made(fd, kind, (int)(known & FD_STREAM) | FD_OURS | fd_nonblock(flags));
    struct fd_entry *e = fd_entry(fd);
    if (e && kind == FD_SOCKET)
        atomic_store_explicit(&e->options,
                              known & FD_OURS ? atomic_load(&listener->options) & ALL
                                              : FD_RCVTIMEO | FD_SNDTIMEO,
                              memory_order_relaxed);
    return fd;
}

static int accept_green(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct fd_entry *e = iotry_known(fd);
    if (!e || (unsigned)flags & ~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return real.accept4(fd, addr, len, flags);
    struct accept_call c = {
        .io = {.attempt = accept_attempt,
               .fd = fd,
               .events = IO_READ,
               .flags = IOTRY_SOCKET | IOTRY_BLOCKS,
               .timeout = -EAGAIN,
               .deadline = DEADLINE_NEVER},
        .entry = e,
        .addr = addr,
        .len = len,
        .flags = flags,
    };
    if (!iotry_nonblocking(e, fd))
        return (int)iotry_result(iotry(&c.io, e));
    cancel_act();
    long r = accept_now(&c, fd);
    if (r == -EAGAIN)
        green_futile();
    return (int)iotry_result(r);
}

int green_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    bool native = patch_passes(PATCH_accept4);
    int r = native ? real.accept4(fd, addr, len, flags) : accept_green(fd, addr, len, flags);
    return accept_made(iotry_known(fd), r, flags);
}

int green_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    bool native = patch_passes(PATCH_accept);
    int r = native ? real.accept(fd, addr, len) : accept_green(fd, addr, len, 0);
    return accept_made(iotry_known(fd), r, 0);
}
