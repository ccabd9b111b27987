/* A user who may have no more threads: pthread_create() says so, and works once there is room. A process that may have
 * no more memory: room comes with the ends of threads. */
#include "check.h"

#include <grp.h>
#include <sys/resource.h>

enum { THREADS = 20, NOBODY_ELSE = 54321 };

static int counted;

static void *count(void *argument)
{
    sleep_ms(1);
    atomic_add(&counted, 1);
    return argument;
}

/* How many there are room for is the kernel's to say, and libgreen needs fewer. */
static int without_room(void)
{
    struct rlimit limit;
    pthread_t threads[THREADS];
    int made = 0, error = 0;
    EXPECT_EQ(getrlimit(RLIMIT_NPROC, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 1;
    EXPECT_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
    while (made < THREADS && (error = pthread_create(&threads[made], NULL, count, NULL)) == 0)
        made++;
    EXPECT(made == THREADS || error == EAGAIN);
    limit.rlim_cur = before;
    EXPECT_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
    while (made < THREADS) {
        EXPECT_EQ(pthread_create(&threads[made], NULL, count, NULL), 0);
        made++;
    }
    for (int i = 0; i < THREADS; i++)
        finish(threads[i]);
    EXPECT_EQ(counted, THREADS);
    return 23;
}

static int as_somebody(void)
{
    if (getuid() == 0)
        EXPECT(setgroups(0, NULL) == 0 && setgid(NOBODY_ELSE) == 0 && setuid(NOBODY_ELSE) == 0);
    return without_room();
}

static void threads_start_once_there_is_room(void)
{
    EXPECT_EXITS(child_run(as_somebody), 23);
}

static void *do_nothing(void *argument)
{
    return argument;
}

/* Nothing in the loop gives way but pthread_create(). */
static int beside_threads_that_end(void)
{
    enum { MANY = 500, STACK = 16 << 20, STACKS = 20 };
    struct rlimit limit;
    pthread_attr_t attributes;
    pthread_t thread;
    long pages = 0;
    finish(start(do_nothing, NULL));
    FILE *f = fopen("/proc/self/statm", "r");
    EXPECT(f && fscanf(f, "%ld", &pages) == 1);
    EXPECT_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = (rlim_t)pages * 4096 + (rlim_t)STACKS * STACK;
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    pthread_attr_init(&attributes);
    EXPECT_EQ(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&attributes, STACK), 0);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    for (int made = 0; made < MANY;) {
        int error = pthread_create(&thread, &attributes, do_nothing, NULL);
        if (error == 0) {
            made++;
        } else if (error != EAGAIN || ms_since(began) > 30000) {
            EXPECT_EQ(error, 0);
            EXPECT_EQ(made, MANY);
            break;
        }
    }
    return 24;
}

static void ends_of_threads_make_room(void)
{
    EXPECT_EXITS(child_run(beside_threads_that_end), 24);
}

static const struct check checks[] = {
    CHECK(threads_start_once_there_is_room),
    CHECK(ends_of_threads_make_room),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
