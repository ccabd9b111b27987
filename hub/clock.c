/* Time: everything in the runtime is absolute CLOCK_MONOTONIC nanoseconds. */
#include "hub.h"

enum { NS = 1000000000 };

int64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS + ts.tv_nsec;
}

int64_t timespec_ns(const struct timespec *ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts->tv_sec, (int64_t)NS, &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
        return ts->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t deadline_after(int64_t ns)
{
    int64_t at;
    return __builtin_add_overflow(clock_now(), ns, &at) ? DEADLINE_NEVER : at;
}

int64_t deadline_from(clockid_t clock, const struct timespec *abs)
{
    int64_t at = timespec_ns(abs);
    if (clock == CLOCK_MONOTONIC)
        return at;
    struct timespec now;
    if (clock_gettime(clock, &now))
        return at;
    int64_t left, deadline;
    if (__builtin_sub_overflow(at, timespec_ns(&now), &left))
        return at < 0 ? 0 : DEADLINE_NEVER;
    if (__builtin_add_overflow(clock_now(), left, &deadline))
        return left < 0 ? 0 : DEADLINE_NEVER;
    return deadline;
}
