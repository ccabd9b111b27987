/* pthread_mutex_timedlock and clocklock: deadlines on both clocks, never early, errors. */
#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int lock_until(clockid_t clock, const struct timespec *deadline)
{
    return clock == -1 ? pthread_mutex_timedlock(&mutex, deadline) : pthread_mutex_clocklock(&mutex, clock, deadline);
}

struct attempt {
    clockid_t clock;
    int ms;
    int error;
    int64_t took;
};

static void *attempt_run(void *argument)
{
    struct attempt *attempt = argument;
    struct timespec deadline = ms_from_now(attempt->clock == -1 ? CLOCK_REALTIME : attempt->clock, attempt->ms);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    attempt->error = lock_until(attempt->clock, &deadline);
    attempt->took = now_ns(CLOCK_MONOTONIC) - began;
    if (attempt->error == 0) {
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static const clockid_t clocks[] = { -1, CLOCK_REALTIME, CLOCK_MONOTONIC };

static void waits_out_its_deadline(void)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 3; i++) {
        struct attempt attempt = { .clock = clocks[i], .ms = 40 };
        finish(start(attempt_run, &attempt));
        EXPECT_EQ(attempt.error, ETIMEDOUT);
        EXPECT(attempt.took >= 39000000);
        EXPECT(attempt.took < INT64_C(15000000000));
    }
    pthread_mutex_unlock(&mutex);
}

static void passed_deadline_times_out_at_once(void)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 3; i++) {
        struct attempt attempt = { .clock = clocks[i], .ms = -500 };
        finish(start(attempt_run, &attempt));
        EXPECT_EQ(attempt.error, ETIMEDOUT);
        struct timespec negative = { -5, 0 };
        EXPECT_EQ(lock_until(clocks[i], &negative), ETIMEDOUT);
    }
    pthread_mutex_unlock(&mutex);
}

static void free_lock_needs_no_valid_deadline(void)
{
    struct timespec past = { 0, 0 }, invalid = { 0, 2000000000 };
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(lock_until(clocks[i], &past), 0);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
        EXPECT_EQ(lock_until(clocks[i], &invalid), 0);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
}

static void invalid_nanoseconds_are_EINVAL_where_it_must_wait(void)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 1000);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 3; i++) {
        deadline.tv_nsec = 1000000000;
        EXPECT_EQ(lock_until(clocks[i], &deadline), EINVAL);
        deadline.tv_nsec = -1;
        EXPECT_EQ(lock_until(clocks[i], &deadline), EINVAL);
    }
    pthread_mutex_unlock(&mutex);
}

static void other_clocks_are_EINVAL(void)
{
    struct timespec deadline = ms_from_now(CLOCK_BOOTTIME, 1000);
    EXPECT_EQ(pthread_mutex_clocklock(&mutex, CLOCK_BOOTTIME, &deadline), EINVAL);
    EXPECT_EQ(pthread_mutex_clocklock(&mutex, CLOCK_PROCESS_CPUTIME_ID, &deadline), EINVAL);
    EXPECT_EQ(pthread_mutex_clocklock(&mutex, 77, &deadline), EINVAL);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), 0);
    pthread_mutex_unlock(&mutex);
}

static void gets_the_lock_when_it_comes_free(void)
{
    for (int i = 0; i < 3; i++) {
        struct attempt attempt = { .clock = clocks[i], .ms = 10000, .error = -1 };
        pthread_mutex_lock(&mutex);
        pthread_t thread = start(attempt_run, &attempt);
        let_others_block();
        EXPECT_EQ(pthread_tryjoin_np(thread, NULL), EBUSY);
        pthread_mutex_unlock(&mutex);
        finish(thread);
        EXPECT_EQ(attempt.error, 0);
    }
}

static void timed_out_waiter_loses_no_unlock(void)
{
    /* One waiter times out about when the lock comes free: the other one must still get it. */
    for (int i = 0; i < 60; i++) {
        struct attempt brief = { .clock = clocks[i % 3], .ms = 2 };
        struct attempt patient = { .clock = clocks[i % 3], .ms = 10000, .error = -1 };
        pthread_mutex_lock(&mutex);
        pthread_t first = start(attempt_run, &brief), second = start(attempt_run, &patient);
        struct timespec pause = { 0, 1500000 + (i % 10) * 100000 };
        nanosleep(&pause, NULL);
        pthread_mutex_unlock(&mutex);
        finish(first);
        finish(second);
        EXPECT(brief.error == 0 || brief.error == ETIMEDOUT);
        EXPECT_EQ(patient.error, 0);
    }
}

static void types_obey_deadlines(void)
{
    int types[] = { PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP };
    for (int i = 0; i < 3; i++) {
        pthread_mutexattr_t attr;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_settype(&attr, types[i]);
        EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
        EXPECT_EQ(pthread_mutex_init(&mutex, &attr), 0);
        waits_out_its_deadline();
        gets_the_lock_when_it_comes_free();
    }
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 1000);
    pthread_mutex_destroy(&mutex);
    pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    pthread_mutex_lock(&checking);
    EXPECT_EQ(pthread_mutex_timedlock(&checking, &deadline), EDEADLK);
    EXPECT_EQ(pthread_mutex_clocklock(&checking, CLOCK_MONOTONIC, &deadline), EDEADLK);
    pthread_mutex_unlock(&checking);
    pthread_mutex_init(&mutex, NULL);
}

static const struct check checks[] = {
    CHECK(waits_out_its_deadline),
    CHECK(passed_deadline_times_out_at_once),
    CHECK(free_lock_needs_no_valid_deadline),
    CHECK(invalid_nanoseconds_are_EINVAL_where_it_must_wait),
    CHECK(other_clocks_are_EINVAL),
    CHECK(gets_the_lock_when_it_comes_free),
    CHECK(timed_out_waiter_loses_no_unlock),
    CHECK(types_obey_deadlines),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
