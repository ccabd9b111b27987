/*
 * Threads with an OS thread of their own, because they changed its kernel state or called what --bind names: it stays
 * the same one for life, they wait and are woken like any other, and fork leaves a child that works.
 */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Of the kernel itself: libc's gettid() may be told another number. */
static long os_thread(void)
{
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_gettid) : "rcx", "r11", "memory");
    return result;
#else
    return gettid();
#endif
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void bind_by_symbol(void)
{
    close(eventfd(0, EFD_CLOEXEC)); /* named by --bind, where there is one */
}

static void bind_by_prctl(void)
{
    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
}

static void bind_by_fsuid(void)
{
    setfsuid(geteuid());
}

static void (*bind_it)(void);

/* Every way to wait, with the same OS thread after each. */
static void *wait_in_all_ways(void *argument)
{
    int fds[2];
    char byte = 0;
    sem_t sem;
    bind_it();
    long own = os_thread();
    sleep_ms(2);
    EXPECT_EQ(os_thread(), own);
    sched_yield();
    EXPECT_EQ(os_thread(), own);
    pthread_mutex_lock(&lock);
    turn++;
    pthread_cond_broadcast(&changed);
    while (turn < 6) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    EXPECT_EQ(os_thread(), own);
    sem_init(&sem, 0, 0);
    struct timespec until = ms_from_now(CLOCK_REALTIME, 2);
    EXPECT_ERRNO(sem_timedwait(&sem, &until), ETIMEDOUT);
    EXPECT_EQ(os_thread(), own);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    EXPECT_EQ(write(fds[0], "x", 1), 1);
    EXPECT_EQ(read(fds[1], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    EXPECT_EQ(os_thread(), own);
    return argument;
}

static void *wait_unbound(void *argument)
{
    pthread_mutex_lock(&lock);
    turn++;
    pthread_cond_broadcast(&changed);
    while (turn < 6) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return argument;
}

static void some_bound_some_not(void (*how)(void))
{
    pthread_t threads[6];
    bind_it = how;
    turn = 0;
    for (int i = 0; i < 6; i++) {
        threads[i] = start(i % 2 ? wait_unbound : wait_in_all_ways, &turn);
    }
    for (int i = 0; i < 6; i++) {
        EXPECT(finish(threads[i]) == &turn);
    }
}

static void one_os_thread_by_symbol(void)
{
    some_bound_some_not(bind_by_symbol);
}

static void one_os_thread_by_prctl(void)
{
    some_bound_some_not(bind_by_prctl);
}

static void one_os_thread_by_fsuid(void)
{
    some_bound_some_not(bind_by_fsuid);
}

/* ---- Interrupted and cancelled ---- */

static atomic_int handled, ready;

static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&handled, 1);
}

static void *pause_bound(void *argument)
{
    bind_it();
    atomic_store(&ready, 1);
    while (!atomic_load(&handled)) {
        usleep(200000);
    }
    return argument;
}

static void *sleep_bound(void *argument)
{
    bind_it();
    atomic_store(&ready, 1);
    for (;;) {
        sleep(100);
    }
    return argument;
}

static void signal_and_cancellation(void)
{
    bind_it = bind_by_fsuid;
    signal(SIGUSR2, on_signal);
    pthread_t t = start(pause_bound, NULL);
    while (!atomic_load(&ready)) {
        sleep_ms(1);
    }
    sleep_ms(5);
    EXPECT_EQ(pthread_kill(t, SIGUSR2), 0);
    finish(t);
    atomic_store(&ready, 0);
    t = start(sleep_bound, NULL);
    while (!atomic_load(&ready)) {
        sleep_ms(1);
    }
    sleep_ms(5);
    EXPECT_EQ(pthread_cancel(t), 0);
    EXPECT(finish(t) == PTHREAD_CANCELED);
}

/* ---- fork ---- */

static void *return_later(void *argument)
{
    sleep_ms(2);
    return argument;
}

static int child(void)
{
    alarm(15);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        threads[i] = start(return_later, &ready);
    }
    sleep_ms(1);
    for (int i = 0; i < 3; i++) {
        EXPECT(finish(threads[i]) == &ready);
    }
    return 5;
}

static void *fork_bound(void *argument)
{
    bind_it();
    EXPECT_EXITS(child_run(child), 5);
    long own = os_thread();
    sleep_ms(1);
    EXPECT_EQ(os_thread(), own);
    return argument;
}

static void fork_by_a_bound_thread(void)
{
    bind_it = bind_by_fsuid;
    for (int i = 0; i < 3; i++) {
        finish(start(fork_bound, NULL));
    }
}

static void *exit_in_child(void *argument)
{
    bind_it();
    fflush(stdout);
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        pthread_exit(argument); /* the last thread: the process exits with 0 */
    }
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 0);
    return argument;
}

static void bound_forker_ends_in_the_child(void)
{
    bind_it = bind_by_fsuid;
    finish(start(exit_in_child, NULL));
}

/* ---- Many, one after another: their OS threads end with them ---- */

static void *bind_and_end(void *argument)
{
    bind_it();
    return argument;
}

static void many_end(void)
{
    bind_it = bind_by_fsuid;
    for (int i = 0; i < 200; i++) {
        finish(start(bind_and_end, NULL));
    }
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(one_os_thread_by_symbol),
        CHECK(one_os_thread_by_prctl),
        CHECK(one_os_thread_by_fsuid),
        CHECK(signal_and_cancellation),
        CHECK(fork_by_a_bound_thread),
        CHECK(bound_forker_ends_in_the_child),
        CHECK(many_end),
    };
    return CHECKS_RUN(checks, argc, argv);
}
