/*
 * A thread computes, again and again, while another one runs in between. Whatever the runtime does about that takes
 * nothing from the rest of the program: no descriptor number, no limit, no OS thread for calls that block.
 */
#include "check.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/file.h>

enum { TIMES = 20, COMPUTES_MS = 4, CHILDREN = 20, WAITERS = 2, HELD_MS = 100 };

static atomic_bool over;

static void *compute_again_and_again(void *argument)
{
    volatile unsigned long x = 1;
    for (int i = 0; i < TIMES; i++) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        while (ms_since(began) < COMPUTES_MS) {
            for (int k = 0; k < 1000; k++) {
                x = x * 6364136223846793005UL + 1;
            }
        }
        sched_yield();
    }
    atomic_store(&over, true);
    return argument;
}

/* ---- Descriptors ---- */

static rlim_t limit_now(void)
{
    struct rlimit limit = { 0, 0 };
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

static int open_and_close(void)
{
    pthread_t other = start(compute_again_and_again, NULL);
    rlim_t limit = limit_now();
    int first = -1;
    while (!atomic_load(&over)) {
        int fd = open("/dev/null", O_RDONLY);
        first = first < 0 ? fd : first;
        EXPECT_EQ(fd, first);
        EXPECT_EQ(limit_now(), limit);
        close(fd);
    }
    finish(other);
    return 0;
}

/* Once in each process, or never. */
static void numbers_and_limits_are_the_program_s(void)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_cur > 1000 ? 1000 : limit.rlim_cur;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < CHILDREN; i++) {
        EXPECT_EXITS(child_run(open_and_close), 0);
    }
}

/* ---- Calls that block ---- */

static char path[] = "/tmp/own-hub-XXXXXX";
static sem_t held;

static void *hold_a_while(void *argument)
{
    int fd = open(path, O_RDWR);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    for (int i = 0; i < WAITERS; i++) {
        sem_post(&held);
    }
    sleep_ms(HELD_MS);
    close(fd);
    return argument;
}

static void *wait_for_it(void *argument)
{
    int fd = open(path, O_RDWR);
    sem_wait(&held);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    close(fd);
    return argument;
}

static void calls_block_as_before(void)
{
    pthread_t computes = start(compute_again_and_again, NULL);
    while (!atomic_load(&over)) {
        sched_yield();
    }
    finish(computes);
    int fd = mkstemp(path);
    EXPECT(fd >= 0);
    close(fd);
    sem_init(&held, 0, 0);
    pthread_t holder = start(hold_a_while, NULL), waiters[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = start(wait_for_it, NULL);
    }
    for (int i = 0; i < WAITERS; i++) {
        finish(waiters[i]);
    }
    finish(holder);
    unlink(path);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(numbers_and_limits_are_the_program_s),
        CHECK(calls_block_as_before),
    };
    return CHECKS_RUN(checks, argc, argv);
}
