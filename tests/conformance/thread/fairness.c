/*
 * Nobody who asks again and again keeps the others out: locks that are released and retaken at once, loops over
 * calls that fail without blocking, loops over sched_yield.
 */
#include "check.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int got, stop;

static int still_within(int64_t began)
{
    return ms_since(began) < 20000;
}

static void *lock_once(void *argument)
{
    pthread_mutex_lock(&mutex);
    atomic_set(&got, 1);
    pthread_mutex_unlock(&mutex);
    return argument;
}

static void waiter_gets_a_mutex_that_is_always_retaken(void)
{
    for (int round = 0; round < 5; round++) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        atomic_set(&got, 0);
        pthread_mutex_lock(&mutex);
        pthread_t thread = start(lock_once, NULL);
        let_others_block();
        while (!atomic_get(&got) && still_within(began)) {
            pthread_mutex_unlock(&mutex);
            pthread_mutex_lock(&mutex);
        }
        pthread_mutex_unlock(&mutex);
        EXPECT(atomic_get(&got));
        finish(thread);
    }
}

static void *lock_and_hold(void *argument)
{
    pthread_mutex_lock(&mutex);
    atomic_set(&got, 1);
    sleep_ms(10);
    pthread_mutex_unlock(&mutex);
    return argument;
}

static void trylock_loop_lets_the_owner_go_on(void)
{
    atomic_set(&got, 0);
    pthread_t thread = start(lock_and_hold, NULL);
    EXPECT(wait_for_value(&got, 1));
    int64_t began = now_ns(CLOCK_MONOTONIC);
    int error;
    while ((error = pthread_mutex_trylock(&mutex)) == EBUSY && still_within(began)) {
    }
    EXPECT_EQ(error, 0);
    pthread_mutex_unlock(&mutex);
    finish(thread);
}

static void *set_flag(void *argument)
{
    atomic_set(argument, 1);
    return NULL;
}

static void yield_loop_lets_others_run(void)
{
    int flag = 0;
    pthread_t thread = start(set_flag, &flag);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (!atomic_get(&flag) && still_within(began)) {
        sched_yield();
    }
    EXPECT(atomic_get(&flag));
    finish(thread);
}

static void *post_later(void *argument)
{
    sleep_ms(5);
    sem_post(argument);
    return NULL;
}

static void sem_trywait_loop_lets_others_run(void)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    pthread_t thread = start(post_later, &sem);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    int result;
    while ((result = sem_trywait(&sem)) == -1 && errno == EAGAIN && still_within(began)) {
    }
    EXPECT_EQ(result, 0);
    finish(thread);
}

static void *write_later(void *argument)
{
    sleep_ms(5);
    EXPECT_EQ(write(*(int *)argument, "x", 1), 1);
    return NULL;
}

static void poll_zero_loop_lets_others_run(void)
{
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    struct pollfd item = { .fd = fds[0], .events = POLLIN };
    pthread_t thread = start(write_later, &fds[1]);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (poll(&item, 1, 0) == 0 && still_within(began)) {
    }
    EXPECT(item.revents & POLLIN);
    finish(thread);
    close(fds[0]);
    close(fds[1]);
}

static void *sleep_briefly(void *argument)
{
    sleep_ms(5);
    return argument;
}

static void tryjoin_loop_lets_others_run(void)
{
    pthread_t thread = start(sleep_briefly, &thread);
    void *value = NULL;
    int64_t began = now_ns(CLOCK_MONOTONIC);
    int error;
    while ((error = pthread_tryjoin_np(thread, &value)) == EBUSY && still_within(began)) {
    }
    EXPECT_EQ(error, 0);
    EXPECT(value == &thread);
}

static void *yield_until_stopped(void *argument)
{
    while (!atomic_get(&stop)) {
        sched_yield();
    }
    return argument;
}

static void timers_expire_beside_a_yielding_crowd(void)
{
    /* Three threads that never stop yielding must not keep the clock from those that sleep. */
    int64_t began = now_ns(CLOCK_MONOTONIC);
    pthread_t crowd[3];
    atomic_set(&stop, 0);
    for (int i = 0; i < 3; i++) {
        crowd[i] = start(yield_until_stopped, NULL);
    }
    for (int i = 0; i < 10; i++) {
        sleep_ms(2);
    }
    atomic_set(&stop, 1);
    for (int i = 0; i < 3; i++) {
        finish(crowd[i]);
    }
    EXPECT(ms_since(began) < 20000);
}

struct share {
    pthread_mutex_t *mutex;
    long *counts;
    int index;
};

static void *lock_over_and_over(void *argument)
{
    struct share *share = argument;
    while (!atomic_get(&stop)) {
        pthread_mutex_lock(share->mutex);
        share->counts[share->index]++;
        pthread_mutex_unlock(share->mutex);
    }
    return NULL;
}

static void everybody_gets_a_share_of_a_hot_lock(void)
{
    enum { THREADS = 6 };
    long counts[THREADS] = { 0 };
    struct share shares[THREADS];
    pthread_t threads[THREADS];
    atomic_set(&stop, 0);
    for (int i = 0; i < THREADS; i++) {
        shares[i] = (struct share){ &mutex, counts, i };
        threads[i] = start(lock_over_and_over, &shares[i]);
    }
    for (int i = 0, all = 0; i < 2000 && !all; i++) {
        sleep_ms(2);
        pthread_mutex_lock(&mutex);
        all = 1;
        for (int t = 0; t < THREADS; t++) {
            all &= counts[t] > 10;
        }
        pthread_mutex_unlock(&mutex);
    }
    atomic_set(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
        EXPECT(counts[i] > 10);
    }
}

static const struct check checks[] = {
    CHECK(waiter_gets_a_mutex_that_is_always_retaken),
    CHECK(trylock_loop_lets_the_owner_go_on),
    CHECK(yield_loop_lets_others_run),
    CHECK(sem_trywait_loop_lets_others_run),
    CHECK(poll_zero_loop_lets_others_run),
    CHECK(tryjoin_loop_lets_others_run),
    CHECK(timers_expire_beside_a_yielding_crowd),
    CHECK(everybody_gets_a_share_of_a_hot_lock),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
