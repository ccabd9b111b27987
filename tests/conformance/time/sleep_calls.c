/* sleep, usleep, nanosleep, clock_nanosleep and thrd_sleep: never early, on every clock, errors, on threads and main. */
#include "check.h"

#include <sched.h>
#include <threads.h>

#define MS 1000000

static int64_t began;

static void mark(void)
{
    began = now_ns(CLOCK_MONOTONIC);
}

/* Not earlier than asked for; later only as far as a busy machine may be. */
static void took_at_least(int64_t ns)
{
    int64_t took = now_ns(CLOCK_MONOTONIC) - began;
    EXPECT(took >= ns);
    EXPECT(took < ns + INT64_C(15000000000));
}

static void relative_forms(void)
{
    struct timespec duration = { 0, 12 * MS };
    mark();
    EXPECT_EQ(nanosleep(&duration, NULL), 0);
    took_at_least(12 * MS);
    mark();
    EXPECT_EQ(usleep(12000), 0);
    took_at_least(12 * MS);
    mark();
    EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, 0, &duration, NULL), 0);
    took_at_least(12 * MS);
    mark();
    EXPECT_EQ(thrd_sleep(&duration, NULL), 0);
    took_at_least(12 * MS);
}

static void *sleep_a_second(void *argument)
{
    struct timespec rest = { 9, 9 };
    int64_t from = now_ns(CLOCK_MONOTONIC);
    EXPECT_EQ(sleep(1), 0);
    EXPECT(now_ns(CLOCK_MONOTONIC) - from >= INT64_C(1000000000));
    (void)rest;
    return argument;
}

static void sleep_takes_seconds(void)
{
    pthread_t thread = start(sleep_a_second, NULL);
    sleep_a_second(NULL);
    finish(thread);
}

static void short_ones_are_not_early(void)
{
    for (long ns = 1; ns <= 2 * MS; ns = ns * 3 + 1) {
        struct timespec duration = { 0, ns };
        mark();
        EXPECT_EQ(nanosleep(&duration, NULL), 0);
        took_at_least(ns);
    }
}

static void zero_returns_at_once(void)
{
    struct timespec zero = { 0, 0 }, rest = { 7, 7 };
    mark();
    EXPECT_EQ(nanosleep(&zero, &rest), 0);
    EXPECT_EQ(usleep(0), 0);
    EXPECT_EQ(sleep(0), 0);
    EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &zero, NULL), 0);
    EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &zero, NULL), 0);
    took_at_least(0);
    EXPECT_EQ(rest.tv_sec, 7);
}

static const struct {
    const char *name;
    clockid_t clock;
} clocks[] = {
    { "realtime", CLOCK_REALTIME },
    { "monotonic", CLOCK_MONOTONIC },
    { "boottime", CLOCK_BOOTTIME },
    { "tai", CLOCK_TAI },
    { "realtime alarm", CLOCK_REALTIME_ALARM },
    { "boottime alarm", CLOCK_BOOTTIME_ALARM },
    { "monotonic raw", CLOCK_MONOTONIC_RAW },
    { "realtime coarse", CLOCK_REALTIME_COARSE },
    { "thread cpu", CLOCK_THREAD_CPUTIME_ID },
    { "unknown", 55 },
};

static void every_clock(void)
{
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        struct timespec duration = { 0, 12 * MS };
        mark();
        int relative = clock_nanosleep(clocks[i].clock, 0, &duration, NULL);
        if (relative == 0) {
            took_at_least(12 * MS);
        }
        int absolute = -1;
        struct timespec now;
        if (clock_gettime(clocks[i].clock, &now) == 0) {
            struct timespec deadline = ms_from_now(clocks[i].clock, 12);
            absolute = clock_nanosleep(clocks[i].clock, TIMER_ABSTIME, &deadline, NULL);
            if (absolute == 0) {
                EXPECT(now_ns(clocks[i].clock) >= deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec);
            }
        }
        printf("%s: relative %d, absolute %d\n", clocks[i].name, relative, absolute);
    }
}

static void *every_clock_in_thread(void *argument)
{
    every_clock();
    return argument;
}

static void every_clock_on_a_thread(void)
{
    finish(start(every_clock_in_thread, NULL));
}

static void passed_deadlines_return_at_once(void)
{
    for (int i = 0; i < 4; i++) {
        struct timespec past = ms_from_now(clocks[i].clock, -5000);
        mark();
        EXPECT_EQ(clock_nanosleep(clocks[i].clock, TIMER_ABSTIME, &past, NULL), 0);
        took_at_least(0);
    }
}

static void invalid_times(void)
{
    struct timespec too_many = { 0, 1000000000 }, negative = { 0, -1 }, before = { -1, 0 };
    EXPECT_ERRNO(nanosleep(&too_many, NULL), EINVAL);
    EXPECT_ERRNO(nanosleep(&negative, NULL), EINVAL);
    EXPECT_ERRNO(nanosleep(&before, NULL), EINVAL);
    for (int absolute = 0; absolute < 2; absolute++) {
        int flags = absolute ? TIMER_ABSTIME : 0;
        EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, flags, &too_many, NULL), EINVAL);
        EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, flags, &negative, NULL), EINVAL);
        EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, flags, &before, NULL), EINVAL);
        EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, flags, &too_many, NULL), EINVAL);
    }
    struct timespec *nowhere = (struct timespec *)16;
    EXPECT_ERRNO(nanosleep(nowhere, NULL), EFAULT);
    errno = 5;
    EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, nowhere, NULL), EFAULT);
    EXPECT_EQ(errno, 5);
    EXPECT(thrd_sleep(&negative, NULL) < -1);
}

static void *check_invalid_times(void *argument)
{
    invalid_times();
    short_ones_are_not_early();
    relative_forms();
    passed_deadlines_return_at_once();
    return argument;
}

static void all_that_on_a_thread(void)
{
    finish(start(check_invalid_times, NULL));
}

static void *sleep_200_ms(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_MONOTONIC, 200), duration = { 0, 200 * MS };
    switch ((intptr_t)argument % 4) {
    case 0:
        EXPECT_EQ(nanosleep(&duration, NULL), 0);
        break;
    case 1:
        EXPECT_EQ(usleep(200000), 0);
        break;
    case 2:
        EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL), 0);
        break;
    default:
        EXPECT_EQ(thrd_sleep(&duration, NULL), 0);
    }
    return argument;
}

static void a_hundred_sleep_at_the_same_time(void)
{
    pthread_t threads[100];
    mark();
    for (intptr_t i = 0; i < 100; i++) {
        threads[i] = start(sleep_200_ms, (void *)i);
    }
    for (int i = 0; i < 100; i++) {
        finish(threads[i]);
    }
    took_at_least(200 * MS);
    EXPECT(ms_since(began) < 10000); /* one after another they would take 20 seconds */
}

static void *sleep_on_process_cpu_time(void *argument)
{
    struct timespec duration = { 0, 20 * MS };
    int64_t before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    EXPECT_EQ(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &duration, NULL), 0);
    EXPECT(now_ns(CLOCK_PROCESS_CPUTIME_ID) - before >= 20 * MS);
    atomic_set(argument, 1);
    return NULL;
}

static void process_cpu_time_goes_on_while_somebody_works(void)
{
    int done = 0;
    pthread_t thread = start(sleep_on_process_cpu_time, &done);
    int64_t from = now_ns(CLOCK_MONOTONIC);
    while (!atomic_get(&done) && ms_since(from) < 10000) {
        for (volatile int work = 0; work < 10000; work++) {
        }
        sched_yield();
    }
    EXPECT_EQ(atomic_get(&done), 1);
    finish(thread);
}

static const struct check checks[] = {
    CHECK(relative_forms),
    CHECK(sleep_takes_seconds),
    CHECK(short_ones_are_not_early),
    CHECK(zero_returns_at_once),
    CHECK(every_clock),
    CHECK(every_clock_on_a_thread),
    CHECK(passed_deadlines_return_at_once),
    CHECK(invalid_times),
    CHECK(all_that_on_a_thread),
    CHECK(process_cpu_time_goes_on_while_somebody_works),
    CHECK(a_hundred_sleep_at_the_same_time),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
