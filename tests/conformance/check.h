/*
 * What every conformance program is made of: a table of named checks, each a function.
 *
 * A check prints "ok NAME", or one "FAIL NAME: ..." line per expectation that did not hold. Output must be the
 * same at every run: never a time, an address or a process number. Arguments on the command line choose checks.
 * Works in C and in C++. The expectations may be used on any thread; they print only when they fail.
 */
#ifndef CONFORMANCE_CHECK_H
#define CONFORMANCE_CHECK_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct check {
    const char *name;
    void (*run)(void);
};

#define CHECK(function) { #function, function }

static const char *check_current = "start";
static int check_failures;

#define EXPECT(condition)                                                                   \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            check_fail(__FILE__, __LINE__, #condition);                                     \
        }                                                                                   \
    } while (0)

/* Integers of any kind; the actual value first. */
#define EXPECT_EQ(actual, expected)                                                         \
    do {                                                                                    \
        long long expect_a = (long long)(actual), expect_e = (long long)(expected);         \
        if (expect_a != expect_e) {                                                         \
            check_fail_eq(__FILE__, __LINE__, #actual, expect_a, expect_e);                 \
        }                                                                                   \
    } while (0)

/* A call that must return -1 and set errno. */
#define EXPECT_ERRNO(call, expected)                                                        \
    do {                                                                                    \
        errno = 0;                                                                          \
        long long expect_r = (long long)(call);                                             \
        int expect_errno = errno;                                                           \
        EXPECT_EQ(expect_r, -1);                                                            \
        if (expect_errno != (expected)) {                                                   \
            check_fail_eq(__FILE__, __LINE__, "errno of " #call, expect_errno, (expected)); \
        }                                                                                   \
    } while (0)

/* Counts a failure; whether to print it, too: the first few of a check tell enough. */
static inline int check_count(void)
{
    return __atomic_add_fetch(&check_failures, 1, __ATOMIC_SEQ_CST) <= 5;
}

static inline void check_fail(const char *file, int line, const char *what)
{
    const char *base = strrchr(file, '/');
    if (!check_count()) {
        return;
    }
    printf("FAIL %s: %s:%d: %s\n", check_current, base ? base + 1 : file, line, what);
}

static inline void check_fail_eq(const char *file, int line, const char *what, long long actual, long long expected)
{
    const char *base = strrchr(file, '/');
    if (!check_count()) {
        return;
    }
    printf("FAIL %s: %s:%d: %s is %lld, expected %lld\n", check_current, base ? base + 1 : file, line, what, actual,
           expected);
}

/* Runs the table, or the checks that argv names; returns main's status. */
static inline int checks_run(const struct check *checks, size_t count, int argc, char **argv)
{
    struct rlimit no_core = { 0, 0 };
    int failed = 0;
    setrlimit(RLIMIT_CORE, &no_core);
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++) {
            wanted |= strcmp(argv[a], checks[i].name) == 0;
        }
        if (!wanted) {
            continue;
        }
        check_current = checks[i].name;
        check_failures = 0;
        checks[i].run();
        if (check_failures == 0) {
            printf("ok %s\n", checks[i].name);
        } else {
            failed++;
            if (check_failures > 5) {
                printf("FAIL %s: and %d more\n", checks[i].name, check_failures - 5);
            }
        }
    }
    return failed ? 1 : 0;
}

#define CHECKS_RUN(table, argc, argv) checks_run(table, sizeof(table) / sizeof((table)[0]), argc, argv)

/* Nanoseconds on a clock. */
static inline int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline struct timespec timespec_of_ns(int64_t ns)
{
    struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    return t;
}

/* The moment that lies so many milliseconds (maybe fewer than 0) from now, on a clock. */
static inline struct timespec ms_from_now(clockid_t clock, int64_t ms)
{
    return timespec_of_ns(now_ns(clock) + ms * 1000000);
}

/* Milliseconds since an earlier now_ns(CLOCK_MONOTONIC). */
static inline int64_t ms_since(int64_t began_ns)
{
    return (now_ns(CLOCK_MONOTONIC) - began_ns) / 1000000;
}

static inline void sleep_ms(int ms)
{
    struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
    }
}

/* Long enough for a thread that was just started to have blocked, on a busy machine as a rule. A check may rely on it
 * for its sharpness only, never for its truth. */
static inline void let_others_block(void)
{
    sleep_ms(20);
}

/* Waits, asleep in between, until *word is what is asked for; 0 when it took more than ten seconds. */
static inline int wait_for_value(const int *word, int value)
{
    for (int i = 0; i < 5000; i++) {
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) {
            return 1;
        }
        sleep_ms(2);
    }
    return 0;
}

static inline int atomic_get(const int *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void atomic_set(int *word, int value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* Returns the new value. */
static inline int atomic_add(int *word, int value)
{
    return __atomic_add_fetch(word, value, __ATOMIC_SEQ_CST);
}

/* A thread with default attributes, or the end of the program. */
static inline pthread_t start(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, function, argument);
    if (error != 0) {
        printf("FAIL %s: pthread_create: %s\n", check_current, strerrordesc_np(error));
        exit(3);
    }
    return thread;
}

static inline void *finish(pthread_t thread)
{
    void *value = NULL;
    EXPECT_EQ(pthread_join(thread, &value), 0);
    return value;
}

/* Runs the function in a forked child, whose status it is unless the function ends the child itself; returns what
 * waitpid said. */
static inline int child_run(int (*function)(void))
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check_failures = 0;
        int result = function();
        fflush(stdout);
        _exit(check_failures ? 99 : result);
    }
    EXPECT(pid > 0);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    return status;
}

#define EXPECT_EXITS(status, code)              \
    do {                                        \
        int exits_status = (status);            \
        EXPECT(WIFEXITED(exits_status));        \
        EXPECT_EQ(WEXITSTATUS(exits_status), (code)); \
    } while (0)

#define EXPECT_KILLED(status, sig)              \
    do {                                        \
        int killed_status = (status);           \
        EXPECT(WIFSIGNALED(killed_status));     \
        EXPECT_EQ(WTERMSIG(killed_status), (sig)); \
    } while (0)

#endif
