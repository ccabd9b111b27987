/* epoll_wait and its forms: the program's own set is asked without waiting; while it has nothing
 * the green thread waits for the set's descriptor to become readable. Nothing about the set, or
 * what is edge-triggered or one-shot in it, is touched.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "blocking.h"
#include "iotry.h"
#include "patch.h"
#include "preload/signal.h"
#include "pollwait.h"

struct epoll_call {
    struct iotry io;
    struct epoll_event *events;
    int max;
};

static long epoll_look(const struct epoll_call *c, int fd)
{
    return sys_6(SYS_epoll_pwait, fd, c->events, c->max, 0, NULL, 0);
}

static long epoll_attempt(struct iotry *t, int fd, bool now)
{
    struct epoll_call *c = (struct epoll_call *)t;
    long r = epoll_look(c, fd);
    if (r || now)
        return r ? r : -EAGAIN;
    struct timespec left;
    const struct timespec *timeout = pollwait_left(t->deadline, &left);
    long ms = timeout ? timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
    return blocking_syscall(true, SYS_epoll_pwait, fd, (long)c->events, c->max,
                            ms < INT32_MAX ? ms : INT32_MAX, 0, 0);
}

static long epoll_masked(struct epoll_call *c, struct fd_entry *e, const sigset_t *mask)
{
    struct signal_swap swap;
    long r = epoll_look(c, c->io.fd);
    if (r)
        return r;
    r = signal_swap_begin(&swap, self_green(), signal_mask_of(mask)) ? -EINTR : iotry(&c->io, e);
    signal_swap_end(&swap, self_green());
    return r;
}

static int epoll_green(int epfd, struct epoll_event *events, int max, int64_t deadline,
                       const sigset_t *mask)
{
    struct fd_entry *e = fd_entry(epfd);
    struct epoll_call c = {
        .io = {.attempt = epoll_attempt,
               .fd = epfd,
               .events = IO_READ,
               .flags = IOTRY_NO_RESTART | IOTRY_BLOCKS | (deadline ? 0 : IOTRY_DONTWAIT),
               .want = 1,
               .deadline = deadline},
        .events = events,
        .max = max,
    };
    if (!e || fd_is_private(epfd))
        return (int)iotry_result(-EBADF);
    long r = mask ? epoll_masked(&c, e, mask) : iotry(&c.io, e);
    return r == -EAGAIN ? 0 : (int)iotry_result(r);
}

static int64_t ms_deadline(int timeout)
{
    return timeout < 0 ? DEADLINE_NEVER : timeout ? deadline_after(timeout * INT64_C(1000000)) : 0;
}

int green_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    PASS_UNLESS_GREEN(epoll_wait, epfd, events, max, timeout);
    return epoll_green(epfd, events, max, ms_deadline(timeout), NULL);
}

int green_epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
                      const sigset_t *mask)
{
    PASS_UNLESS_GREEN(epoll_pwait, epfd, events, max, timeout, mask);
    if (pollwait_wild(mask))
        return real.epoll_pwait(epfd, events, max, timeout, mask);
    return epoll_green(epfd, events, max, ms_deadline(timeout), mask);
}

int green_epoll_pwait2(int epfd, struct epoll_event *events, int max,
                       const struct timespec *timeout, const sigset_t *mask)
{
    PASS_UNLESS_GREEN(epoll_pwait2, epfd, events, max, timeout, mask);
    int64_t deadline;
    if (pollwait_wild(timeout) || pollwait_wild(mask))
        return real.epoll_pwait2(epfd, events, max, timeout, mask);
    if (!pollwait_deadline(timeout, &deadline))
        return (int)iotry_result(-EINVAL);
    return epoll_green(epfd, events, max, deadline, mask);
}
