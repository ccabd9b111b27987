/* A thousand sleepers wake in the order of their deadlines, as far as those lie apart enough to tell. */
#include "check.h"

enum { SLEEPERS = 1000, STEP_MS = 100, STEPS = 6 };

static struct sleeper {
    int step;
    int64_t deadline, woke;
} sleepers[SLEEPERS];

static void *sleep_until(void *argument)
{
    struct sleeper *sleeper = argument;
    struct timespec deadline = timespec_of_ns(sleeper->deadline);
    EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL), 0);
    sleeper->woke = now_ns(CLOCK_MONOTONIC);
    return NULL;
}

/* Runs the crowd; returns how many woke after a later step's first sleeper did. */
static int crowd_run(int64_t first_ms)
{
    static pthread_t threads[SLEEPERS];
    int64_t first_of_step[STEPS], base = now_ns(CLOCK_MONOTONIC) + first_ms * 1000000;
    int late = 0;
    for (int i = 0; i < SLEEPERS; i++) {
        /* Neighbours get far-apart deadlines, so that order of creation and of deadlines have nothing in common. */
        int step = i * 7919 % STEPS;
        sleepers[i] = (struct sleeper){ step, base + step * STEP_MS * INT64_C(1000000), 0 };
        threads[i] = start(sleep_until, &sleepers[i]);
    }
    for (int s = 0; s < STEPS; s++) {
        first_of_step[s] = INT64_MAX;
    }
    for (int i = 0; i < SLEEPERS; i++) {
        finish(threads[i]);
        EXPECT(sleepers[i].woke >= sleepers[i].deadline);
        if (sleepers[i].woke < first_of_step[sleepers[i].step]) {
            first_of_step[sleepers[i].step] = sleepers[i].woke;
        }
    }
    for (int i = 0; i < SLEEPERS; i++) {
        for (int s = sleepers[i].step + 1; s < STEPS; s++) {
            late += sleepers[i].woke > first_of_step[s];
        }
    }
    return late;
}

static void deadlines_decide_the_order(void)
{
    int late = 1;
    /* A busy machine may delay a thread by a step: then once more, with more time to get all of them to sleep. */
    for (int attempt = 0; attempt < 8 && late; attempt++) {
        late = crowd_run(100 + 100 * attempt);
    }
    EXPECT_EQ(late, 0);
}

static int finished;

static void *sleep_then_count(void *argument)
{
    sleep_ms((int)(intptr_t)argument);
    atomic_add(&finished, 1);
    return NULL;
}

static void later_sleepers_do_not_hold_up_earlier_ones(void)
{
    atomic_set(&finished, 0);
    pthread_t slow = start(sleep_then_count, (void *)700);
    for (int i = 0; i < 20; i++) {
        finish(start(sleep_then_count, (void *)(intptr_t)(i % 5)));
    }
    EXPECT(atomic_get(&finished) >= 20);
    finish(slow);
    EXPECT_EQ(atomic_get(&finished), 21);
}

static const struct check checks[] = {
    CHECK(deadlines_decide_the_order),
    CHECK(later_sleepers_do_not_hold_up_earlier_ones),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
