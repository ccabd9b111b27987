/* <threads.h>: threads, mutexes, conditions, thread-specific storage, call_once. */
#include "check.h"

#include <threads.h>

static mtx_t mutex;
static cnd_t cond;
static int counter, turn;

static int return_argument(void *argument)
{
    return (int)(intptr_t)argument;
}

static int exit_from_below(void *argument)
{
    thrd_exit((int)(intptr_t)argument + 1);
}

static thrd_t thrd_start(int (*function)(void *), void *argument)
{
    thrd_t thread;
    EXPECT_EQ(thrd_create(&thread, function, argument), thrd_success);
    return thread;
}

static int thrd_finish(thrd_t thread)
{
    int result = -1;
    EXPECT_EQ(thrd_join(thread, &result), thrd_success);
    return result;
}

static void results_are_joined(void)
{
    for (intptr_t i = -50; i < 50; i++) {
        EXPECT_EQ(thrd_finish(thrd_start(return_argument, (void *)i)), i);
        EXPECT_EQ(thrd_finish(thrd_start(exit_from_below, (void *)i)), i + 1);
    }
    EXPECT_EQ(thrd_join(thrd_start(return_argument, NULL), NULL), thrd_success);
}

static int compare_current(void *argument)
{
    return thrd_equal(thrd_current(), *(thrd_t *)argument) != 0;
}

static void current_and_equal(void)
{
    thrd_t self = thrd_current();
    EXPECT(thrd_equal(self, thrd_current()));
    EXPECT_EQ(thrd_finish(thrd_start(compare_current, &self)), 0);
}

static int count_up(void *argument)
{
    (void)argument;
    atomic_add(&counter, 1);
    return 0;
}

static void detached_threads_run(void)
{
    atomic_set(&counter, 0);
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(thrd_detach(thrd_start(count_up, NULL)), thrd_success);
    }
    EXPECT(wait_for_value(&counter, 50));
}

static void sleep_keeps_its_time(void)
{
    struct timespec duration = { 0, 20000000 }, invalid = { 0, -1 };
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_EQ(thrd_sleep(&duration, NULL), 0);
    EXPECT(ms_since(began) >= 20);
    EXPECT(thrd_sleep(&invalid, NULL) < 0);
    thrd_yield();
}

static int count_under_mutex(void *argument)
{
    for (int i = 0; i < 200; i++) {
        EXPECT_EQ(mtx_lock(&mutex), thrd_success);
        if (argument) {
            EXPECT_EQ(mtx_lock(&mutex), thrd_success);
        }
        int seen = counter;
        if (i % 16 == 0) {
            thrd_yield();
        }
        counter = seen + 1;
        if (argument) {
            EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
        }
        EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
    }
    return 0;
}

static void mutexes_exclude(void)
{
    int types[] = { mtx_plain, mtx_timed, mtx_plain | mtx_recursive, mtx_timed | mtx_recursive };
    for (int i = 0; i < 4; i++) {
        thrd_t threads[5];
        EXPECT_EQ(mtx_init(&mutex, types[i]), thrd_success);
        counter = 0;
        for (int t = 0; t < 5; t++) {
            threads[t] = thrd_start(count_under_mutex, types[i] & mtx_recursive ? &mutex : NULL);
        }
        for (int t = 0; t < 5; t++) {
            thrd_finish(threads[t]);
        }
        EXPECT_EQ(counter, 1000);
        mtx_destroy(&mutex);
    }
}

static int try_mutex(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 20);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    (void)argument;
    EXPECT_EQ(mtx_trylock(&mutex), thrd_busy);
    EXPECT_EQ(mtx_timedlock(&mutex, &deadline), thrd_timedout);
    return ms_since(began) >= 19;
}

static void busy_and_timed_out(void)
{
    EXPECT_EQ(mtx_init(&mutex, mtx_timed), thrd_success);
    EXPECT_EQ(mtx_trylock(&mutex), thrd_success);
    EXPECT_EQ(thrd_finish(thrd_start(try_mutex, NULL)), 1);
    EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
}

static int take_turns(void *argument)
{
    int me = argument != NULL;
    mtx_lock(&mutex);
    for (int i = 0; i < 200; i++) {
        while (turn != me) {
            EXPECT_EQ(cnd_wait(&cond, &mutex), thrd_success);
        }
        turn = !me;
        EXPECT_EQ(i % 2 ? cnd_signal(&cond) : cnd_broadcast(&cond), thrd_success);
    }
    mtx_unlock(&mutex);
    return 0;
}

static void conditions(void)
{
    struct timespec deadline;
    EXPECT_EQ(cnd_init(&cond), thrd_success);
    thrd_t first = thrd_start(take_turns, NULL), second = thrd_start(take_turns, &mutex);
    thrd_finish(first);
    thrd_finish(second);
    mtx_lock(&mutex);
    deadline = ms_from_now(CLOCK_REALTIME, 20);
    EXPECT_EQ(cnd_timedwait(&cond, &mutex, &deadline), thrd_timedout);
    EXPECT(now_ns(CLOCK_REALTIME) >= deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec);
    mtx_unlock(&mutex);
    cnd_destroy(&cond);
}

static tss_t key;
static int destroyed;

static void destroy(void *value)
{
    atomic_add(&destroyed, 1);
    if ((intptr_t)value > 1) {
        tss_set(key, (void *)((intptr_t)value - 1));
    }
}

static int set_storage(void *argument)
{
    EXPECT(tss_get(key) == NULL);
    EXPECT_EQ(tss_set(key, argument), thrd_success);
    thrd_yield();
    EXPECT(tss_get(key) == argument);
    return 0;
}

static void specific_storage(void)
{
    EXPECT_EQ(TSS_DTOR_ITERATIONS, 4);
    EXPECT_EQ(tss_create(&key, destroy), thrd_success);
    for (intptr_t wanted = 0; wanted < 7; wanted++) {
        destroyed = 0;
        thrd_finish(thrd_start(set_storage, (void *)wanted));
        EXPECT_EQ(destroyed, wanted < 4 ? wanted : 4);
    }
    tss_delete(key);
}

static once_flag once = ONCE_FLAG_INIT;
static int initialised;

static void initialise(void)
{
    struct timespec duration = { 0, 10000000 };
    thrd_sleep(&duration, NULL);
    initialised++;
}

static int initialise_once(void *argument)
{
    (void)argument;
    call_once(&once, initialise);
    return initialised;
}

static void called_once(void)
{
    thrd_t threads[10];
    for (int i = 0; i < 10; i++) {
        threads[i] = thrd_start(initialise_once, NULL);
    }
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(thrd_finish(threads[i]), 1);
    }
}

static thread_local int local = 5;

static int change_local(void *argument)
{
    (void)argument;
    local++;
    thrd_yield();
    return local;
}

static void thread_local_variables(void)
{
    thrd_t threads[10];
    for (int i = 0; i < 10; i++) {
        threads[i] = thrd_start(change_local, NULL);
    }
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(thrd_finish(threads[i]), 6);
    }
    EXPECT_EQ(local, 5);
}

static const struct check checks[] = {
    CHECK(results_are_joined),
    CHECK(current_and_equal),
    CHECK(detached_threads_run),
    CHECK(sleep_keeps_its_time),
    CHECK(mutexes_exclude),
    CHECK(busy_and_timed_out),
    CHECK(conditions),
    CHECK(specific_storage),
    CHECK(called_once),
    CHECK(thread_local_variables),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
