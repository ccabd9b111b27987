/* A program that has used up its descriptors makes its first threads: natively that needs none. */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { LIMIT = 40, THREADS = 10 };

static int pair[2], counted;

static void *count(void *argument)
{
    char byte;
    sleep_ms(1);
    atomic_add(&counted, 1);
    EXPECT_EQ(recv(pair[0], &byte, 1, 0), 1);
    return argument;
}

static void threads_work(void)
{
    pthread_t threads[THREADS];
    atomic_set(&counted, 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, count, &counted), 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(send(pair[1], "x", 1, 0), 1);
    for (int i = 0; i < THREADS; i++)
        EXPECT(finish(threads[i]) == &counted);
    EXPECT_EQ(counted, THREADS);
}

/* Returns the number of one that may be closed. */
static int exhaust(bool hard_too)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = LIMIT;
    if (hard_too)
        limit.rlim_max = LIMIT;
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd, last = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    EXPECT_EQ(errno, EMFILE);
    return last;
}

static int soft_limit(void)
{
    exhaust(false);
    threads_work();
    EXPECT_ERRNO(open("/dev/null", O_RDONLY), EMFILE);
    return 23;
}

static int hard_limit(void)
{
    exhaust(true);
    threads_work();
    EXPECT_ERRNO(open("/dev/null", O_RDONLY), EMFILE);
    return 23;
}

/* What is missing comes free again between one thread and the next. */
static int one_comes_free(void)
{
    int last = exhaust(true);
    threads_work();
    for (int i = 0; i < 6; i++) {
        EXPECT_EQ(close(last - i), 0);
        threads_work();
    }
    return 23;
}

static void threads_start_at_the_soft_limit(void)
{
    EXPECT_EXITS(child_run(soft_limit), 23);
}

static void threads_start_at_the_hard_limit(void)
{
    EXPECT_EXITS(child_run(hard_limit), 23);
}

static void threads_start_while_descriptors_come_free(void)
{
    EXPECT_EXITS(child_run(one_comes_free), 23);
}

static const struct check checks[] = {
    CHECK(threads_start_at_the_soft_limit),
    CHECK(threads_start_at_the_hard_limit),
    CHECK(threads_start_while_descriptors_come_free),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
