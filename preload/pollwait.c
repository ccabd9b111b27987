/* Look, park, look again: see pollwait.h. */
#include "pollwait.h"

#include <errno.h>

#include "cancel.h"
#include "hub/hub.h"
#include "preload/signal.h"
#include "pollset.h"

enum { LIES = 8 }; /* so often in a row may a wait end although nothing is ready */

bool pollwait_deadline(const struct timespec *timeout, int64_t *deadline)
{
    *deadline = DEADLINE_NEVER;
    if (!timeout)
        return true;
    if (!timespec_valid(timeout) || timeout->tv_sec < 0)
        return false;
    int64_t ns = timespec_ns(timeout);
    *deadline = ns ? deadline_after(ns) : 0;
    return true;
}

const struct timespec *pollwait_left(int64_t deadline, struct timespec *left)
{
    if (deadline == DEADLINE_NEVER)
        return NULL;
    int64_t ns = deadline - clock_now();
    ns = ns > 0 ? ns : 0;
    *left = (struct timespec){ns / 1000000000, ns % 1000000000};
    return left;
}

/* ---- What the wait is on ---- */

/* What the hub is asked for. On Linux POLLRDBAND comes with POLLIN if ever, and POLLWRBAND with
 * POLLOUT; POLLRDHUP never comes without POLLIN. */
static int hub_events(short events)
{
    enum { IN = POLLIN | POLLRDNORM, OUT = POLLOUT | POLLWRNORM | POLLWRBAND };
    int wanted = (events & IN ? IO_READ : 0) | (events & OUT ? IO_WRITE : 0) |
                 (events & POLLPRI ? IO_URGENT : 0);
    if (events & POLLRDHUP && !(events & IN))
        wanted |= IO_RDHUP;
    return wanted ? wanted : IO_HANGUP;
}

/* Owned by the calling green thread. */
struct target {
    size_t count;
    struct pollset *set; /* then it is watched alone */
    struct io_poll polls[IO_POLL_MAX];
};

/* False when the hub cannot wait for this. */
static bool target_open(struct target *to, const struct pollfd *fds, nfds_t count)
{
    to->set = NULL;
    to->count = 0;
    nfds_t i = 0;
    for (; i < count; i++) {
        if (fds[i].fd < 0)
            continue;
        if (to->count == IO_POLL_MAX)
            break;
        to->polls[to->count++] = (struct io_poll){fds[i].fd, hub_events(fds[i].events)};
    }
    if (i == count)
        return true;
    to->set = pollset_take(fds, count);
    if (!to->set)
        return false;
    to->count = 1;
    to->polls[0] = (struct io_poll){pollset_fd(to->set), IO_READ};
    return true;
}

static void target_close(struct target *t)
{
    if (t->set)
        pollset_give_back(t->set);
}

/* ---- The wait ---- */

static long look_now(struct pollwait *w)
{
    struct timespec zero = {0, 0};
    return w->look(w, &zero, true);
}

static enum wait_result target_wait(struct target *t, int64_t deadline)
{
    enum { BY = WAIT_BY_SIGNAL | WAIT_BY_CANCEL };
    return t->count ? io_wait_any(t->polls, t->count, deadline, BY) : sleep_until(deadline, BY);
}

/* Until something is ready, or the wait ends for another reason: *cancelled tells which. */
static long wait_and_look(struct pollwait *w, struct target *t, bool *cancelled)
{
    for (int lies = 0; lies < LIES;) {
        enum wait_result result = target_wait(t, w->deadline);
        if (result == WAIT_CANCELLED) {
            *cancelled = true;
            return 0;
        }
        long r = look_now(w);
        if (r || result == WAIT_TIMED_OUT)
            return r;
        if (result == WAIT_INTERRUPTED || result == WAIT_RESTARTED)
            return -EINTR;
        lies++;
    }
    struct timespec left;
    return w->look(w, pollwait_left(w->deadline, &left), false);
}

static long wait_parked(struct pollwait *w, void (*clean)(struct pollwait *w))
{
    struct target target;
    struct timespec left;
    bool cancelled = false;
    if (!target_open(&target, w->fds, w->count))
        return w->look(w, pollwait_left(w->deadline, &left), false);
    long r = wait_and_look(w, &target, &cancelled);
    target_close(&target);
    if (cancelled) {
        if (clean)
            clean(w);
        cancel_act();
    }
    return r;
}

long pollwait(struct pollwait *w, void (*clean)(struct pollwait *w))
{
    long r = w->looked ? 0 : look_now(w);
    if (r)
        return r;
    struct signal_swap swap;
    if (w->mask && signal_swap_begin(&swap, self_green(), signal_mask_of(w->mask)))
        r = -EINTR;
    else if (w->deadline == 0)
        green_futile();
    else
        r = wait_parked(w, clean);
    if (w->mask)
        signal_swap_end(&swap, self_green());
    return r;
}
