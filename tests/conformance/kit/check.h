/* What a conformance program prints with.
 *
 * Each check says on one line what must hold; the lines are compared between two runs of the same
 * program, so they never contain a time, a number that the kernel picked, or an address. A check
 * that fails says what it got and makes the exit status 1. Only the main thread's successes are
 * printed: those of other threads would come in an order that nobody promises. Lines are written
 * with write(2), so that nothing is lost or doubled by _exit, fork or a crash. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIT_UNUSED __attribute__((unused))

/* Written once before main, then read only. */
static pthread_t check_main;
static atomic_int check_failures;

__attribute__((constructor)) static void check_start(void)
{
    check_main = pthread_self();
}

__attribute__((format(printf, 1, 2))) KIT_UNUSED static void say(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (length < 0)
        return;
    if ((size_t)length > sizeof(line) - 2)
        length = (int)sizeof(line) - 2;
    line[length++] = '\n';
    for (ssize_t done = 0; done < length;) {
        ssize_t n = write(STDOUT_FILENO, line + done, (size_t)(length - done));
        if (n < 0 && errno != EINTR)
            return;
        done += n > 0 ? n : 0;
    }
}

KIT_UNUSED static const char *check_errno_name(int error)
{
    const char *name = error == 0 ? "success" : strerrorname_np(error);
    return name != NULL ? name : "an unknown errno";
}

KIT_UNUSED static bool check_ok(const char *what)
{
    if (pthread_equal(pthread_self(), check_main))
        say("ok %s", what);
    return true;
}

KIT_UNUSED static bool check_true(bool holds, const char *what, const char *expression)
{
    if (holds)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    say("FAILED %s: expected %s", what, expression);
    return false;
}

KIT_UNUSED static bool check_int(long long got, long long want, const char *what)
{
    int error = errno;
    if (got == want)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    if (got == -1)
        say("FAILED %s: expected %lld, got -1 (errno %s)", what, want, check_errno_name(error));
    else
        say("FAILED %s: expected %lld, got %lld", what, want, got);
    return false;
}

KIT_UNUSED static bool check_fails(long long got, int want, const char *what)
{
    int error = errno;
    if (got == -1 && error == want)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    if (got != -1)
        say("FAILED %s: expected -1 (%s), got %lld", what, check_errno_name(want), got);
    else
        say("FAILED %s: expected %s, got %s", what, check_errno_name(want),
            check_errno_name(error));
    return false;
}

KIT_UNUSED static bool check_code(int got, int want, const char *what)
{
    if (got == want)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    say("FAILED %s: expected %s, got %s", what, check_errno_name(want), check_errno_name(got));
    return false;
}

KIT_UNUSED static bool check_bytes(const void *got, const void *want, size_t length,
                                   const char *what)
{
    if (memcmp(got, want, length) == 0)
        return check_ok(what);
    atomic_fetch_add(&check_failures, 1);
    say("FAILED %s: expected \"%.*s\", got \"%.*s\"", what, (int)length, (const char *)want,
        (int)length, (const char *)got);
    return false;
}

/* The condition holds. */
#define CHECK(condition, what) check_true((condition), what, #condition)
/* The call returns this number. */
#define CHECK_INT(got, want, what) check_int((long long)(got), (long long)(want), what)
/* The call returns -1 and sets this errno. */
#define CHECK_FAILS(call, error, what) check_fails((long long)(call), error, what)
/* The call returns an errno (0 is success), as the pthread_ functions do. */
#define CHECK_CODE(got, want, what) check_code((got), (want), what)
#define CHECK_BYTES(got, want, length, what) check_bytes(got, want, length, what)

/* Preparation that has to work before anything can be checked: ends the program if it fails. */
KIT_UNUSED static long must_hold(long got, const char *call, const char *file, int line)
{
    if (got == -1) {
        const char *slash = strrchr(file, '/');
        say("BROKEN %s:%d %s: %s", slash != NULL ? slash + 1 : file, line, call,
            check_errno_name(errno));
        _exit(99);
    }
    return got;
}
#define MUST(call) ((int)must_hold((long)(call), #call, __FILE__, __LINE__))
#define MUST_LONG(call) must_hold((long)(call), #call, __FILE__, __LINE__)
/* The same for calls that return an errno, and for conditions. */
#define MUST_BE(condition) ((void)must_hold((condition) ? 0 : -1, #condition, __FILE__, __LINE__))

/* The last line of main: the exit status. */
KIT_UNUSED static int check_done(void)
{
    int failures = atomic_load(&check_failures);
    say(failures == 0 ? "all checks hold" : "%d checks failed", failures);
    return failures == 0 ? 0 : 1;
}
