/* Expectations that say in words what must hold, and preparation that has to work.
 *
 * They print only what does not hold, on any thread, and keep errno; names and counts of checks
 * are check.h's. */
#pragma once

#include "check.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

#define KIT_UNUSED __attribute__((unused))

/* An address where nothing is mapped; volatile, so that the compiler does not see it. */
KIT_UNUSED static void *volatile bad_pointer = (void *)8;

/* A number, or what errno says where it is -1. */
static const char *expect_text(char *text, size_t size, long long number, int error)
{
    if (number == -1 && error != 0)
        snprintf(text, size, "-1 (%s)", strerrorname_np(error));
    else
        snprintf(text, size, "%lld", number);
    return text;
}

/* One line of a failure; what is the promise that does not hold. */
__attribute__((format(printf, 4, 5))) KIT_UNUSED static bool
expect_failed(const char *file, int line, const char *what, const char *format, ...)
{
    char detail[256];
    const char *base = strrchr(file, '/');
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    __atomic_add_fetch(&check_failures, 1, __ATOMIC_SEQ_CST);
    printf("FAIL %s: %s:%d: %s: %s\n", check_current, base != NULL ? base + 1 : file, line, what,
           detail);
    return false;
}

KIT_UNUSED static bool expect_holds(bool holds, const char *what, const char *condition,
                                    const char *file, int line)
{
    return holds || expect_failed(file, line, what, "expected %s", condition);
}

KIT_UNUSED static bool expect_equals(long long got, long long want, const char *what,
                                     const char *file, int line)
{
    char text[64];
    int error = errno;
    bool holds = got == want || expect_failed(file, line, what, "expected %lld, got %s", want,
                                              expect_text(text, sizeof(text), got, error));
    errno = error;
    return holds;
}

KIT_UNUSED static bool expect_fails(long long got, int want, const char *what, const char *file,
                                    int line)
{
    char text[64];
    int error = errno;
    bool holds = (got == -1 && error == want) ||
                 expect_failed(file, line, what, "expected -1 (%s), got %s", strerrorname_np(want),
                               expect_text(text, sizeof(text), got, error));
    errno = error;
    return holds;
}

KIT_UNUSED static bool expect_code(int got, int want, const char *what, const char *file, int line)
{
    const char *name = got == 0 ? "success" : strerrorname_np(got);
    return got == want ||
           expect_failed(file, line, what, "expected %s, got %s",
                         want == 0 ? "success" : strerrorname_np(want), name ? name : "nonsense");
}

KIT_UNUSED static bool expect_bytes(const void *got, const char *want, size_t length,
                                    const char *what, const char *file, int line)
{
    return memcmp(got, want, length) == 0 ||
           expect_failed(file, line, what, "expected \"%.*s\", got \"%.*s\"", (int)length, want,
                         (int)length, (const char *)got);
}

/* A call that began at began (now_ns, CLOCK_MONOTONIC) lasted ms or more, less what the kernel's
 * clock for it may cut, and came back before 15 s were over, which a busy machine stays below. */
KIT_UNUSED static bool expect_lasted(int64_t began, int ms, int cut_us, const char *what,
                                     const char *file, int line)
{
    int64_t us = (now_ns(CLOCK_MONOTONIC) - began) / 1000;
    return (us >= (int64_t)ms * 1000 - cut_us && us < 15000000) ||
           expect_failed(file, line, what, "expected %d ms to 15 s, got %lld us", ms,
                         (long long)us);
}

/* All of these are true where the expectation holds. */
#define HOLDS(condition, what) expect_holds((condition), what, #condition, __FILE__, __LINE__)
/* The call gives this number. */
#define EQUALS(got, want, what)                                                                    \
    expect_equals((long long)(got), (long long)(want), what, __FILE__, __LINE__)
/* The call gives -1 and sets errno. */
#define FAILS(call, error, what) expect_fails((long long)(call), error, what, __FILE__, __LINE__)
/* The call returns an errno, 0 for success, as the pthread_ functions do. */
#define CODE(call, error, what) expect_code((call), error, what, __FILE__, __LINE__)
#define BYTES(got, want, length, what) expect_bytes(got, want, length, what, __FILE__, __LINE__)
/* A wait that has a timer of its own, which never fires early: poll, select, sleep, futex. */
#define LASTED(began, ms, what) expect_lasted(began, ms, 0, what, __FILE__, __LINE__)
/* A wait that is counted in the kernel's ticks, SO_RCVTIMEO and such: on a busy virtual machine
 * the ticks themselves come late and then together, so all that can be asked is that it waited. */
#define LASTED_TICKS(began, ms, what)                                                              \
    expect_lasted(began, ms, (ms) * 700, what, __FILE__, __LINE__)

/* Preparation without which nothing can be checked: ends the program where it fails. */
KIT_UNUSED static long must_hold(long got, const char *call, const char *file, int line)
{
    if (got == -1) {
        expect_failed(file, line, "preparation", "%s gives -1 (%s)", call, strerrorname_np(errno));
        fflush(stdout);
        _exit(99);
    }
    return got;
}

KIT_UNUSED static int must_hold_int(long got, const char *call, const char *file, int line)
{
    return (int)must_hold(got, call, file, line);
}
#define MUST(call) must_hold_int((long)(call), #call, __FILE__, __LINE__)
#define MUST_LONG(call) must_hold((long)(call), #call, __FILE__, __LINE__)
#define MUST_BE(condition) ((void)must_hold((condition) ? 0 : -1, #condition, __FILE__, __LINE__))

KIT_UNUSED static int64_t moment(void)
{
    return now_ns(CLOCK_MONOTONIC);
}
