/* pthread_once: exactly once, late comers wait for the end, a cancelled initialiser leaves the next one to do it. */
#include "check.h"

#include <semaphore.h>

static pthread_once_t once;
static const pthread_once_t fresh = PTHREAD_ONCE_INIT;
static int runs, complete, started;
static sem_t gate;

static void initialise_slowly(void)
{
    atomic_add(&runs, 1);
    sleep_ms(20);
    atomic_set(&complete, 1);
}

static void *call_once_slowly(void *argument)
{
    EXPECT_EQ(pthread_once(&once, initialise_slowly), 0);
    EXPECT_EQ(atomic_get(&complete), 1);
    return argument;
}

static void runs_once_and_everybody_waits(void)
{
    pthread_t threads[20];
    once = fresh;
    atomic_set(&runs, 0);
    atomic_set(&complete, 0);
    for (int i = 0; i < 20; i++) {
        threads[i] = start(call_once_slowly, NULL);
    }
    for (int i = 0; i < 20; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(pthread_once(&once, initialise_slowly), 0);
    EXPECT_EQ(runs, 1);
}

static void initialise_until_cancelled(void)
{
    if (atomic_add(&runs, 1) == 1) {
        atomic_set(&started, 1);
        sleep(3600);
    }
    atomic_set(&complete, 1);
}

static void *call_once_cancellable(void *argument)
{
    pthread_once(&once, initialise_until_cancelled);
    return argument;
}

static void cancelled_initialiser_leaves_it_to_another(void)
{
    once = fresh;
    atomic_set(&runs, 0);
    atomic_set(&complete, 0);
    atomic_set(&started, 0);
    pthread_t first = start(call_once_cancellable, NULL);
    EXPECT(wait_for_value(&started, 1));
    pthread_t second = start(call_once_cancellable, &once);
    let_others_block();
    EXPECT_EQ(atomic_get(&complete), 0);
    EXPECT_EQ(pthread_cancel(first), 0);
    EXPECT(finish(first) == PTHREAD_CANCELED);
    EXPECT(finish(second) == &once);
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(complete, 1);
}

static void exit_the_first_time(void)
{
    if (atomic_add(&runs, 1) == 1) {
        pthread_exit("left");
    }
}

static void *call_once_exiting(void *argument)
{
    pthread_once(&once, exit_the_first_time);
    return argument;
}

static void exiting_initialiser_leaves_it_to_another(void)
{
    once = fresh;
    atomic_set(&runs, 0);
    EXPECT(strcmp(finish(start(call_once_exiting, "stayed")), "left") == 0);
    EXPECT(strcmp(finish(start(call_once_exiting, "stayed")), "stayed") == 0);
    EXPECT(strcmp(finish(start(call_once_exiting, "stayed")), "stayed") == 0);
    EXPECT_EQ(runs, 2);
}

static pthread_once_t inner_once = PTHREAD_ONCE_INIT;

static void initialise_inner(void)
{
    atomic_add(&runs, 1);
    sched_yield();
}

static void initialise_outer(void)
{
    pthread_once(&inner_once, initialise_inner);
    atomic_add(&runs, 1);
}

static void initialisers_may_nest(void)
{
    once = fresh;
    atomic_set(&runs, 0);
    EXPECT_EQ(pthread_once(&once, initialise_outer), 0);
    EXPECT_EQ(pthread_once(&inner_once, initialise_inner), 0);
    EXPECT_EQ(runs, 2);
}

static void wait_for_the_gate(void)
{
    atomic_set(&started, 1);
    sem_wait(&gate);
    atomic_set(&complete, 1);
}

static void *call_once_gated(void *argument)
{
    pthread_once(&once, wait_for_the_gate);
    return (void *)(intptr_t)(atomic_get(&complete) + (argument != NULL));
}

static void others_run_while_an_initialiser_blocks(void)
{
    pthread_t threads[5];
    once = fresh;
    sem_init(&gate, 0, 0);
    atomic_set(&started, 0);
    atomic_set(&complete, 0);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(call_once_gated, NULL);
    }
    EXPECT(wait_for_value(&started, 1));
    EXPECT_EQ(atomic_get(&complete), 0);
    sem_post(&gate);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ((intptr_t)finish(threads[i]), 1);
    }
}

static void *call_once_yielding(void *argument)
{
    pthread_once(argument, initialise_inner);
    return argument;
}

static void many_onces_many_threads(void)
{
    enum { ONCES = 100, THREADS = 8 };
    static pthread_once_t onces[ONCES];
    atomic_set(&runs, 0);
    for (int i = 0; i < ONCES; i++) {
        pthread_t threads[THREADS];
        onces[i] = fresh;
        for (int t = 0; t < THREADS; t++) {
            threads[t] = start(call_once_yielding, &onces[i]);
        }
        for (int t = 0; t < THREADS; t++) {
            EXPECT(finish(threads[t]) == &onces[i]);
        }
    }
    EXPECT_EQ(runs, ONCES);
}

static const struct check checks[] = {
    CHECK(runs_once_and_everybody_waits),
    CHECK(cancelled_initialiser_leaves_it_to_another),
    CHECK(exiting_initialiser_leaves_it_to_another),
    CHECK(initialisers_may_nest),
    CHECK(others_run_while_an_initialiser_blocks),
    CHECK(many_onces_many_threads),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
