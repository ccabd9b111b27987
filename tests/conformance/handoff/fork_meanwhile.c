/*
 * fork() by a thread that has just lost its hub, while others compute, block in the kernel or wait for a helper
 * thread: the child has a runtime that works, and so has its child.
 */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>

static atomic_int stop;

static void *compute(void *argument)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    }
    return argument;
}

static void *block_in_the_kernel(void *argument)
{
    while (!atomic_load(&stop)) {
#if defined(__x86_64__)
        struct timespec t = { 0, 3000000 };
        long result;
        __asm__ volatile("syscall" : "=a"(result) : "a"(35), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
#else
        sleep_ms(3);
#endif
    }
    return argument;
}

/* Made on a helper thread. */
static void *sync_a_file(void *argument)
{
    char name[32];
    snprintf(name, sizeof name, "synced.%d", (int)getpid());
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (!atomic_load(&stop)) {
        EXPECT_EQ(pwrite(fd, "x", 1, 0), 1);
        EXPECT_EQ(fdatasync(fd), 0);
        sleep_ms(1);
    }
    close(fd);
    unlink(name);
    return argument;
}

/* ---- In the child ---- */

static int pair[2];

static void *echo(void *argument)
{
    char byte;
    while (read(pair[1], &byte, 1) == 1) {
        EXPECT_EQ(write(pair[1], &byte, 1), 1);
    }
    return argument;
}

static void *sleep_shortly(void *argument)
{
    sleep_ms(2);
    return argument;
}

static void runtime_works(void)
{
    pthread_t sleepers[4];
    char byte = 'q';
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pthread_t t = start(echo, NULL);
    for (int i = 0; i < 4; i++) {
        sleepers[i] = start(sleep_shortly, NULL);
    }
    EXPECT_EQ(write(pair[0], &byte, 1), 1);
    EXPECT_EQ(read(pair[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'q');
    for (int i = 0; i < 4; i++) {
        finish(sleepers[i]);
    }
    close(pair[0]);
    finish(t);
    close(pair[1]);
}

/* A thread of the child that computes must be no more of an obstacle there than in the parent. */
static void handoff_works(void)
{
    atomic_store(&stop, 0);
    pthread_t t = start(compute, NULL);
    sleep_ms(5);
    atomic_store(&stop, 1);
    finish(t);
}

static int grandchild(void)
{
    runtime_works();
    return 7;
}

static int child(void)
{
    alarm(15);
    runtime_works();
    handoff_works();
    EXPECT_EXITS(child_run(grandchild), 7);
    return 6;
}

/* ---- In the parent ---- */

static void *fork_after_computing(void *argument)
{
    /* Long enough to have lost the hub: the fork comes from a thread that is alone. */
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_MONOTONIC) - began < 25000000) {
    }
    EXPECT_EXITS(child_run(child), 6);
    return argument;
}

static void *fork_at_once(void *argument)
{
    EXPECT_EXITS(child_run(child), 6);
    return argument;
}

static void forks_beside(void *(*fork_it)(void *))
{
    pthread_t others[4];
    atomic_store(&stop, 0);
    others[0] = start(compute, NULL);
    others[1] = start(block_in_the_kernel, NULL);
    others[2] = start(block_in_the_kernel, NULL);
    others[3] = start(sync_a_file, NULL);
    sleep_ms(5);
    for (int i = 0; i < 4; i++) {
        finish(start(fork_it, NULL));
    }
    fork_it(NULL);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) {
        finish(others[i]);
    }
}

static void fork_from_an_attached_thread(void)
{
    forks_beside(fork_at_once);
}

static void fork_from_a_thread_that_lost_its_hub(void)
{
    forks_beside(fork_after_computing);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(fork_from_an_attached_thread),
        CHECK(fork_from_a_thread_that_lost_its_hub),
    };
    return CHECKS_RUN(checks, argc, argv);
}
