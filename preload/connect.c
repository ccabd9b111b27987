/* Connecting.
 *
 * On a description that is this process's alone O_NONBLOCK is set for the moment of the call, which
 * then begins the connection; who connects waits until the socket can be written and calls again,
 * and the kernel says how it went. On a shared one, and where there is nothing to wait for
 * (AF_UNIX with a full backlog), the hub is handed off for the call.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "blocking.h"
#include "cancel.h"
#include "iotry.h"
#include "patch.h"

struct connect_call {
    struct iotry io;
    const struct sockaddr *addr;
    socklen_t len;
    bool begun;
};

static long connect_blocking(int fd, const struct sockaddr *addr, socklen_t len)
{
    return blocking_syscall(true, SYS_connect, fd, (long)addr, len, 0, 0, 0);
}

/* No switch between the first fcntl and the last: nobody sees the flag. */
static long connect_begin(int fd, const struct sockaddr *addr, socklen_t len)
{
    long status = sys_3(SYS_fcntl, fd, F_GETFL, 0);
    if (status < 0)
        return status;
    sys_3(SYS_fcntl, fd, F_SETFL, status | O_NONBLOCK);
    long r = sys_3(SYS_connect, fd, addr, len);
    sys_3(SYS_fcntl, fd, F_SETFL, status);
    return r;
}

/* Once the connection stands, or has failed, a second connect does not wait: it says which. */
static long connect_end(const struct connect_call *c, int fd)
{
    return iotry_poll(fd, POLLOUT) ? sys_3(SYS_connect, fd, c->addr, c->len) : -EAGAIN;
}

static long connect_attempt(struct iotry *t, int fd, bool now)
{
    struct connect_call *c = (struct connect_call *)t;
    if (!now)
        return connect_blocking(fd, c->addr, c->len);
    if (c->begun)
        return connect_end(c, fd);
    c->begun = true;
    long r = connect_begin(fd, c->addr, c->len);
    if (r == -EAGAIN)
        return connect_blocking(fd, c->addr, c->len);
    if (r != -EINPROGRESS && r != -EALREADY)
        return r;
    t->timeout = (int)r;
    return connect_end(c, fd); /* to this machine it stands already */
}

int green_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    PASS_UNLESS_GREEN(connect, fd, addr, len);
    struct fd_entry *e = iotry_known(fd);
    if (!e || iotry_kind(e) != FD_SOCKET)
        return real.connect(fd, addr, len);
    if (iotry_nonblocking(e, fd)) {
        cancel_act();
        return (int)iotry_result(sys_3(SYS_connect, fd, addr, len));
    }
    if (!(iotry_flags(e) & FD_OURS))
        return (int)iotry_result(connect_blocking(fd, addr, len));
    struct connect_call c = {
        .io = {.attempt = connect_attempt,
               .fd = fd,
               .events = IO_WRITE,
               .flags = IOTRY_SOCKET | IOTRY_BLOCKS,
               .deadline = DEADLINE_NEVER},
        .addr = addr,
        .len = len,
    };
    return (int)iotry_result(iotry(&c.io, e));
}
