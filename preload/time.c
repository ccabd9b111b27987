/* Sleeping: a deadline on the hub. Interrupted by every signal handler, SA_RESTART or not. */
#include <errno.h>
#include <threads.h>

#include "hub/hub.h"
#include "preload/blocking.h"
#include "preload/cancel.h"
#include "preload/mapping.h"
#include "preload/patch.h"

/* 0, or EINTR with what was left of it in *left (may be NULL). Acts on cancellation. */
static int time_sleep_until(int64_t deadline, struct timespec *left)
{
    enum wait_result r;
    cancel_act();
    while ((r = sleep_until(deadline, WAIT_BY_SIGNAL | WAIT_BY_CANCEL)) == WAIT_CANCELLED)
        cancel_act();
    if (r == WAIT_TIMED_OUT)
        return 0;
    if (left) {
        int64_t ns = deadline - clock_now();
        if (ns < 0)
            ns = 0;
        left->tv_sec = ns / 1000000000;
        left->tv_nsec = ns % 1000000000;
    }
    return EINTR;
}

static int time_check(const struct timespec *ask)
{
    if (!mapping_readable((uintptr_t)ask))
        return EFAULT;
    return ask->tv_sec < 0 || !timespec_valid(ask) ? EINVAL : 0;
}

static int time_sleep(const struct timespec *ask, struct timespec *left)
{
    int error = time_check(ask);
    if (error)
        return error;
    return time_sleep_until(deadline_after(timespec_ns(ask)), left);
}

int green_nanosleep(const struct timespec *ask, struct timespec *left)
{
    PASS_UNLESS_GREEN(nanosleep, ask, left);
    int error = time_sleep(ask, left);
    if (!error)
        return 0;
    errno = error;
    return -1;
}

int green_usleep(useconds_t usec)
{
    PASS_UNLESS_GREEN(usleep, usec);
    int error = time_sleep_until(deadline_after((int64_t)usec * 1000), NULL);
    if (!error)
        return 0;
    errno = error;
    return -1;
}

/* Whole seconds are left, rounded down as libc does. */
unsigned green_sleep(unsigned seconds)
{
    PASS_UNLESS_GREEN(sleep, seconds);
    struct timespec left = {0};
    return time_sleep_until(deadline_after((int64_t)seconds * 1000000000), &left)
               ? (unsigned)left.tv_sec
               : 0;
}

int green_thrd_sleep(const struct timespec *ask, struct timespec *left)
{
    PASS_UNLESS_GREEN(thrd_sleep, ask, left);
    int error = time_sleep(ask, left);
    return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

/* ---- Other clocks ---- */

struct time_call {
    clockid_t clock;
    int flags;
    const struct timespec *ask;
    struct timespec *left;
};

static long time_native(void *arg)
{
    struct time_call *c = arg;
    return real.clock_nanosleep(c->clock, c->flags, c->ask, c->left);
}

/* Clocks of CPU time and the like are the kernel's business. */
static int time_real(clockid_t clock, int flags, const struct timespec *ask, struct timespec *left)
{
    struct time_call c = {clock, flags, ask, left};
    cancel_act();
    return (int)blocking_call(time_native, &c);
}

int green_clock_nanosleep(clockid_t clock, int flags, const struct timespec *ask,
                          struct timespec *left)
{
    PASS_UNLESS_GREEN(clock_nanosleep, clock, flags, ask, left);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_TAI)
        return time_real(clock, flags, ask, left);
    if (!(flags & TIMER_ABSTIME))
        return time_sleep(ask, left);
    int error = time_check(ask);
    if (error)
        return error;
    return time_sleep_until(deadline_from(clock, ask), NULL);
}
