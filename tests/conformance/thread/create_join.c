/* pthread_create, join and its timed forms, detach, self and equal: values, states and errors. */
#include "check.h"

#include <semaphore.h>

static void *identity(void *argument)
{
    return argument;
}

static void *wait_for_sem(void *argument)
{
    sem_t *sem = argument;
    while (sem_wait(sem) == -1) {
    }
    return argument;
}

static void join_returns_the_value(void)
{
    for (intptr_t i = 0; i < 1000; i++) {
        EXPECT(finish(start(identity, (void *)i)) == (void *)i);
    }
}

static void join_in_any_order(void)
{
    pthread_t threads[50];
    for (intptr_t i = 0; i < 50; i++) {
        threads[i] = start(identity, (void *)(i * 3));
    }
    for (intptr_t i = 49; i >= 0; i--) {
        EXPECT(finish(threads[i]) == (void *)(i * 3));
    }
}

static void join_without_a_place_for_the_value(void)
{
    EXPECT_EQ(pthread_join(start(identity, NULL), NULL), 0);
}

static void *exit_below(void *argument)
{
    int *depth = argument;
    if (--*depth == 0) {
        pthread_exit((void *)77);
    }
    return exit_below(depth);
}

static void pthread_exit_from_nested_calls(void)
{
    int depth = 40;
    EXPECT(finish(start(exit_below, &depth)) == (void *)77);
    EXPECT_EQ(depth, 0);
}

static void *create_one_more(void *argument)
{
    intptr_t left = (intptr_t)argument;
    if (left == 0) {
        return (void *)1;
    }
    return (void *)((intptr_t)finish(start(create_one_more, (void *)(left - 1))) + 1);
}

static void threads_create_threads(void)
{
    EXPECT(finish(start(create_one_more, (void *)30)) == (void *)31);
}

static void *join_self(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)pthread_join(pthread_self(), NULL);
}

static void join_of_oneself_is_EDEADLK(void)
{
    EXPECT_EQ((intptr_t)finish(start(join_self, NULL)), EDEADLK);
    EXPECT_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
}

static void tryjoin_of_a_running_thread_is_EBUSY(void)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    pthread_t thread = start(wait_for_sem, &sem);
    void *value = &value;
    EXPECT_EQ(pthread_tryjoin_np(thread, &value), EBUSY);
    EXPECT(value == &value);
    sem_post(&sem);
    int error;
    for (int i = 0; (error = pthread_tryjoin_np(thread, &value)) == EBUSY && i < 5000; i++) {
        sleep_ms(1);
    }
    EXPECT_EQ(error, 0);
    EXPECT(value == &sem);
}

static void timedjoin_times_out(void)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    pthread_t thread = start(wait_for_sem, &sem);
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 50);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    void *value = NULL;
    EXPECT_EQ(pthread_timedjoin_np(thread, &value, &deadline), ETIMEDOUT);
    EXPECT(ms_since(began) >= 49);
    deadline = ms_from_now(CLOCK_REALTIME, -1000);
    EXPECT_EQ(pthread_timedjoin_np(thread, &value, &deadline), ETIMEDOUT);
    sem_post(&sem);
    deadline = ms_from_now(CLOCK_REALTIME, 10000);
    EXPECT_EQ(pthread_timedjoin_np(thread, &value, &deadline), 0);
    EXPECT(value == &sem);
}

static void clockjoin_knows_both_clocks(void)
{
    clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC };
    for (int i = 0; i < 2; i++) {
        sem_t sem;
        sem_init(&sem, 0, 0);
        pthread_t thread = start(wait_for_sem, &sem);
        struct timespec deadline = ms_from_now(clocks[i], 30);
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_EQ(pthread_clockjoin_np(thread, NULL, clocks[i], &deadline), ETIMEDOUT);
        EXPECT(ms_since(began) >= 29);
        EXPECT_EQ(pthread_clockjoin_np(thread, NULL, CLOCK_BOOTTIME, &deadline), EINVAL);
        sem_post(&sem);
        deadline = ms_from_now(clocks[i], 10000);
        EXPECT_EQ(pthread_clockjoin_np(thread, NULL, clocks[i], &deadline), 0);
    }
}

static void *sleep_then_return(void *argument)
{
    sleep_ms(30);
    return argument;
}

static void join_waits_for_the_end(void)
{
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT(finish(start(sleep_then_return, &began)) == &began);
    EXPECT(ms_since(began) >= 30);
}

static int detached_ran;

static void *count_detached(void *argument)
{
    atomic_add(&detached_ran, 1);
    return argument;
}

static void detached_threads_run_and_go(void)
{
    pthread_attr_t attr;
    int state;
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
    EXPECT_EQ(pthread_attr_getdetachstate(&attr, &state), 0);
    EXPECT_EQ(state, PTHREAD_CREATE_DETACHED);
    detached_ran = 0;
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, i % 2 ? &attr : NULL, count_detached, NULL), 0);
        if (i % 2 == 0) {
            EXPECT_EQ(pthread_detach(thread), 0);
        }
    }
    EXPECT(wait_for_value(&detached_ran, 200));
    pthread_attr_destroy(&attr);
}

static void *detach_self(void *argument)
{
    intptr_t error = pthread_detach(pthread_self());
    *(int *)argument = error == 0 ? 1 : 2;
    return NULL;
}

static void thread_detaches_itself(void)
{
    int result = 0;
    start(detach_self, &result);
    EXPECT(wait_for_value(&result, 1));
}

static void detach_twice_and_join_of_detached_are_EINVAL(void)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    pthread_t thread = start(wait_for_sem, &sem);
    EXPECT_EQ(pthread_detach(thread), 0);
    EXPECT_EQ(pthread_detach(thread), EINVAL);
    EXPECT_EQ(pthread_join(thread, NULL), EINVAL);
    sem_post(&sem);
    sleep_ms(5);
}

static void detach_of_a_finished_thread(void)
{
    int ran = 0;
    pthread_t thread = start(detach_self, &ran);
    (void)thread;
    EXPECT(wait_for_value(&ran, 1));
    detached_ran = 0;
    thread = start(count_detached, NULL);
    EXPECT(wait_for_value(&detached_ran, 1));
    sleep_ms(5);
    EXPECT_EQ(pthread_detach(thread), 0);
}

static void *self_of_thread(void *argument)
{
    *(pthread_t *)argument = pthread_self();
    return (void *)(intptr_t)pthread_equal(pthread_self(), *(pthread_t *)argument);
}

static void self_is_what_create_gave(void)
{
    pthread_t seen;
    pthread_t thread = start(self_of_thread, &seen);
    EXPECT_EQ((intptr_t)finish(thread), 1);
    EXPECT(pthread_equal(thread, seen));
    EXPECT(!pthread_equal(seen, pthread_self()));
    EXPECT(pthread_equal(pthread_self(), pthread_self()));
}

static pthread_t stored;

static void *compare_stored(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)pthread_equal(stored, pthread_self());
}

static void id_is_stored_before_the_thread_runs(void)
{
    /* glibc promises it: the new thread finds its own id where create stores it. */
    for (int i = 0; i < 200; i++) {
        memset(&stored, 0, sizeof stored);
        EXPECT_EQ(pthread_create(&stored, NULL, compare_stored, NULL), 0);
        EXPECT_EQ((intptr_t)finish(stored), 1);
    }
}

static void impossible_stack_is_EAGAIN(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, (size_t)1 << 47), 0);
    EXPECT_EQ(pthread_create(&thread, &attr, identity, NULL), EAGAIN);
    pthread_attr_destroy(&attr);
    EXPECT(finish(start(identity, &attr)) == &attr);
}

static void *exit_value_by_local(void *argument)
{
    pthread_exit(argument);
}

static void many_at_once_then_join(void)
{
    enum { MANY = 500 };
    static pthread_t threads[MANY];
    static sem_t gate;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < MANY; i++) {
        threads[i] = start(i % 2 ? wait_for_sem : exit_value_by_local, &gate);
    }
    for (int i = 0; i < MANY / 2; i++) {
        sem_post(&gate);
    }
    for (int i = 0; i < MANY; i++) {
        EXPECT(finish(threads[i]) == &gate);
    }
}

static const struct check checks[] = {
    CHECK(join_returns_the_value),
    CHECK(join_in_any_order),
    CHECK(join_without_a_place_for_the_value),
    CHECK(pthread_exit_from_nested_calls),
    CHECK(threads_create_threads),
    CHECK(join_of_oneself_is_EDEADLK),
    CHECK(tryjoin_of_a_running_thread_is_EBUSY),
    CHECK(timedjoin_times_out),
    CHECK(clockjoin_knows_both_clocks),
    CHECK(join_waits_for_the_end),
    CHECK(detached_threads_run_and_go),
    CHECK(thread_detaches_itself),
    CHECK(detach_twice_and_join_of_detached_are_EINVAL),
    CHECK(detach_of_a_finished_thread),
    CHECK(self_is_what_create_gave),
    CHECK(id_is_stored_before_the_thread_runs),
    CHECK(impossible_stack_is_EAGAIN),
    CHECK(many_at_once_then_join),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
