/*
 * While libgreen finds out that threads block in the kernel, the program gets the descriptor numbers that it would get
 * natively, one after another; and it finds out where no descriptor is left.
 */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { BLOCKERS = 3, FOR_MS = 250 };

static atomic_int stop;

static void *block_in_the_kernel(void *argument)
{
    while (!atomic_load(&stop)) {
#if defined(__x86_64__)
        struct timespec t = { 0, 2500000 };
        long result;
        __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
#else
        usleep(2500);
#endif
        usleep(100); /* back to where it holds up others */
    }
    return argument;
}

static void begin(pthread_t *threads)
{
    atomic_store(&stop, 0);
    for (int i = 0; i < BLOCKERS; i++) {
        threads[i] = start(block_in_the_kernel, NULL);
    }
    sleep_ms(20);
}

static void end(pthread_t *threads)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < BLOCKERS; i++) {
        finish(threads[i]);
    }
}

static void the_next_number_is_the_lowest(void)
{
    pthread_t threads[BLOCKERS];
    begin(threads);
    int next = dup(0), others = 0;
    close(next);
    for (int64_t until = now_ns(CLOCK_MONOTONIC) + FOR_MS * 1000000LL; now_ns(CLOCK_MONOTONIC) < until;) {
        int fds[8];
        for (int i = 0; i < 8; i++) {
            fds[i] = dup(0);
            others += fds[i] != next + i;
        }
        for (int i = 0; i < 8; i++) {
            close(fds[i]);
        }
    }
    EXPECT_EQ(others, 0);
    end(threads);
}

/* Others run, and the limit is theirs alone. */
static void no_number_is_left(void)
{
    pthread_t threads[BLOCKERS];
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(0);
    close(next);
    few = before;
    few.rlim_cur = (rlim_t)next;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    begin(threads);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 50; i++) {
        EXPECT_ERRNO(dup(0), EMFILE);
        sleep_ms(1);
    }
    EXPECT(now_ns(CLOCK_MONOTONIC) - began < 10 * INT64_C(1000000000));
    end(threads);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(the_next_number_is_the_lowest),
        CHECK(no_number_is_left),
    };
    return CHECKS_RUN(checks, argc, argv);
}
