/* What may happen to a descriptor besides becoming readable or writable: urgent data, the peer's
 * end of writing, a hang-up that is waited for alone. libev knows none of these, so each hub has a
 * second epoll set with the exact masks, and libev watches that set.
 */
#include <errno.h>
#include <sys/epoll.h>

#include <ev.h>

#include "alloc.h"
#include "internal.h"

static uint32_t rare_mask(int events)
{
    return (events & IO_URGENT ? (uint32_t)EPOLLPRI : 0) |
           (events & IO_RDHUP ? (uint32_t)EPOLLRDHUP : 0);
}

/* Errors and hang-ups are told to whoever waits for anything, as poll(2) does. */
static int rare_events(uint32_t mask)
{
    if (mask & (EPOLLERR | EPOLLHUP))
        return IO_RARE;
    return (mask & EPOLLPRI ? IO_URGENT : 0) | (mask & EPOLLRDHUP ? IO_RDHUP : 0);
}

static void on_rare(struct ev_loop *loop, ev_io *io, int revents)
{
    enum { BATCH = 64 };
    struct epoll_event events[BATCH];
    struct hub *h = hub_held();
    (void)loop;
    (void)io;
    (void)revents;
    long n = sys_6(SYS_epoll_pwait, h->rare_epfd, events, BATCH, 0, NULL, 0);
    for (long i = 0; i < n; i++)
        io_rare_ready(h, events[i].data.fd, rare_events(events[i].events));
}

static long open_epoll(void)
{
    return sys_1(SYS_epoll_create1, EPOLL_CLOEXEC);
}

static bool rare_open(struct hub *h)
{
    if (h->rare_epfd)
        return true;
    struct ev_io *io = h->rare ? h->rare : green_calloc(1, sizeof *io);
    h->rare = io;
    int fd = io ? fd_private_open(open_epoll) : -1;
    if (fd < 0)
        return false;
    h->rare_epfd = fd;
    ev_io_init(io, on_rare, h->rare_epfd, EV_READ);
    ev_io_start(h->loop, io);
    h->watchers_pending = true;
    return true;
}

bool rare_arm(struct hub *h, int fd, int events)
{
    struct epoll_event event = {.events = rare_mask(events), .data.fd = fd};
    if (!rare_open(h))
        return false;
    long r = sys_4(SYS_epoll_ctl, h->rare_epfd, EPOLL_CTL_ADD, fd, &event);
    if (r == -EEXIST)
        r = sys_4(SYS_epoll_ctl, h->rare_epfd, EPOLL_CTL_MOD, fd, &event);
    return r == 0 || r == -EPERM; /* nothing rare ever happens to a plain file */
}

void rare_disarm(struct hub *h, int fd)
{
    struct epoll_event ignored = {0};
    sys_4(SYS_epoll_ctl, h->rare_epfd, EPOLL_CTL_DEL, fd, &ignored);
}

/* In a forked child: the set was the parent's. */
void rare_fork(struct hub *h)
{
    h->rare_epfd = 0;
    h->rare = NULL;
}
