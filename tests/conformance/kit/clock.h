/* Monotonic time in milliseconds, for lower bounds. Upper bounds are kept loose: a busy machine
 * may make any thread late, but none may be early. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "check.h"

KIT_UNUSED static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

KIT_UNUSED static int64_t now_ms(void)
{
    return now_ns() / 1000000;
}

KIT_UNUSED static void nap_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

/* The call that began at start_ns lasted at least ms (not early by more than the 1 ms to which
 * poll's and epoll's kernel timers may be rounded), and came back at all within 4 s. */
KIT_UNUSED static bool check_lasted(int64_t start_ns, int ms, const char *what)
{
    int64_t lasted = (now_ns() - start_ns) / 1000;
    if (lasted >= (int64_t)ms * 1000 - 1000 && lasted < 4000000)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    say("FAILED %s: expected %d ms to 4 s, got %lld us", what, ms, (long long)lasted);
    return false;
}
#define CHECK_LASTED(start_ns, ms, what) check_lasted(start_ns, ms, what)
