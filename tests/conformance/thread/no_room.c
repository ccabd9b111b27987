/* A user who may have no more threads: pthread_create() says so, and works once there is room. */
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

static const struct check checks[] = {
    CHECK(threads_start_once_there_is_room),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
