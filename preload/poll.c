/* poll and ppoll. */
#include <errno.h>
#include <poll.h>

#include "blocking.h"
#include "cancel.h"
#include "coro/sys.h"
#include "iotry.h"
#include "patch.h"
#include "pollwait.h"

struct poll_call {
    struct pollwait wait;
    struct pollfd *fds;
};

static long poll_look(struct pollwait *w, const struct timespec *timeout, bool now)
{
    struct poll_call *c = (struct poll_call *)w;
    struct timespec left;
    if (timeout) /* the kernel writes what is left of it */
        left = *timeout;
    if (!now)
        return blocking_syscall(true, SYS_ppoll, (long)c->fds, (long)w->count,
                                timeout ? (long)&left : 0, 0, 0, 0);
    return sys_5(SYS_ppoll, c->fds, w->count, &left, NULL, 0);
}

static int poll_green(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                      const sigset_t *mask)
{
    struct poll_call c = {.wait = {.look = poll_look, .fds = fds, .count = count, .mask = mask},
                          .fds = fds};
    cancel_act();
    if (!pollwait_deadline(timeout, &c.wait.deadline))
        return (int)iotry_result(-EINVAL);
    return (int)iotry_result(pollwait(&c.wait, NULL));
}

int green_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    PASS_UNLESS_GREEN(poll, fds, count, timeout);
    struct timespec ts = {timeout / 1000, timeout % 1000 * 1000000L};
    return poll_green(fds, count, timeout < 0 ? NULL : &ts, NULL);
}

int green_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask)
{
    PASS_UNLESS_GREEN(ppoll, fds, count, timeout, mask);
    if (pollwait_wild(timeout) || pollwait_wild(mask))
        return real.ppoll(fds, count, timeout, mask);
    return poll_green(fds, count, timeout, mask);
}
