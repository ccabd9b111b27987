/* Barriers: everybody waits, exactly one is told, rounds follow each other, the last one may destroy it. */
#include "check.h"

#include <sched.h>

enum { THREADS = 8, ROUNDS = 100 };

static pthread_barrier_t barrier;
static int arrived[ROUNDS], serial[ROUNDS];

static void *meet(void *argument)
{
    intptr_t me = (intptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        if ((round + me) % 5 == 0) {
            sched_yield();
        }
        if ((round + me) % 50 == 0) {
            sleep_ms(1);
        }
        atomic_add(&arrived[round], 1);
        int result = pthread_barrier_wait(&barrier);
        EXPECT(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        EXPECT_EQ(atomic_get(&arrived[round]), THREADS);
        atomic_add(&serial[round], result == PTHREAD_BARRIER_SERIAL_THREAD);
    }
    return NULL;
}

static void rounds_follow_each_other_with_one_serial_thread_each(void)
{
    pthread_t threads[THREADS];
    EXPECT_EQ(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(meet, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT_EQ(serial[i], 1);
    }
    EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

static int passed;

static void *meet_once(void *argument)
{
    pthread_barrier_wait(&barrier);
    atomic_add(&passed, 1);
    return argument;
}

static void nobody_passes_before_the_last(void)
{
    pthread_t threads[3];
    EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 4), 0);
    atomic_set(&passed, 0);
    for (int i = 0; i < 3; i++) {
        threads[i] = start(meet_once, NULL);
    }
    let_others_block();
    EXPECT_EQ(atomic_get(&passed), 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

static void barrier_of_one_never_waits(void)
{
    EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 1), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
    }
    EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

struct brief {
    pthread_barrier_t barrier;
};

static void *meet_and_destroy(void *argument)
{
    struct brief *brief = argument;
    if (pthread_barrier_wait(&brief->barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
        EXPECT_EQ(pthread_barrier_destroy(&brief->barrier), 0);
        memset(brief, 0xff, sizeof *brief);
        free(brief);
    }
    return NULL;
}

static void serial_thread_may_destroy_at_once(void)
{
    for (int round = 0; round < 100; round++) {
        struct brief *brief = malloc(sizeof *brief);
        pthread_t threads[4];
        EXPECT_EQ(pthread_barrier_init(&brief->barrier, NULL, 4), 0);
        for (int i = 0; i < 4; i++) {
            threads[i] = start(meet_and_destroy, brief);
        }
        for (int i = 0; i < 4; i++) {
            finish(threads[i]);
        }
    }
}

static void arguments_are_checked(void)
{
    pthread_barrierattr_t attr;
    int shared = -1;
    EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
    EXPECT_EQ(pthread_barrierattr_init(&attr), 0);
    EXPECT_EQ(pthread_barrierattr_getpshared(&attr, &shared), 0);
    EXPECT_EQ(shared, PTHREAD_PROCESS_PRIVATE);
    EXPECT_EQ(pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_barrierattr_getpshared(&attr, &shared), 0);
    EXPECT_EQ(shared, PTHREAD_PROCESS_SHARED);
    EXPECT_EQ(pthread_barrierattr_setpshared(&attr, 12), EINVAL);
    EXPECT_EQ(pthread_barrierattr_destroy(&attr), 0);
}

static void more_threads_than_the_count_pass_in_groups(void)
{
    pthread_t threads[40];
    EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 10), 0);
    atomic_set(&passed, 0);
    for (int i = 0; i < 40; i++) {
        threads[i] = start(meet_once, NULL);
    }
    for (int i = 0; i < 40; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(passed, 40);
    EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

static const struct check checks[] = {
    CHECK(rounds_follow_each_other_with_one_serial_thread_each),
    CHECK(nobody_passes_before_the_last),
    CHECK(barrier_of_one_never_waits),
    CHECK(serial_thread_may_destroy_at_once),
    CHECK(arguments_are_checked),
    CHECK(more_threads_than_the_count_pass_in_groups),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
