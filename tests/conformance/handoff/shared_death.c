/*
 * Process-shared robust locks, with and without priority inheritance, whose owners die: threads that end while they
 * hold one, in this process and in another, while others wait; and the same locks fought over by both processes.
 */
#include "check.h"

#include <sched.h>
#include <sys/mman.h>

enum { THREADS = 3, ROUNDS = 60 };

static struct shared {
    pthread_mutex_t lock;
    int held, a, b, deaths;
} *shared;

static void make(int protocol)
{
    pthread_mutexattr_t attr;
    if (!shared) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        EXPECT(shared != MAP_FAILED);
    }
    memset(shared, 0, sizeof *shared);
    pthread_mutexattr_init(&attr);
    EXPECT_EQ(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    EXPECT_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
    EXPECT_EQ(pthread_mutex_init(&shared->lock, &attr), 0);
}

/* Takes the lock, as its last owner's heir where there was a death. */
static void lock_or_inherit(void)
{
    int error = pthread_mutex_lock(&shared->lock);
    if (error == EOWNERDEAD) {
        shared->deaths++;
        EXPECT_EQ(pthread_mutex_consistent(&shared->lock), 0);
        error = 0;
    }
    EXPECT_EQ(error, 0);
}

static void *end_with_the_lock(void *argument)
{
    lock_or_inherit();
    atomic_set(&shared->held, 1);
    sleep_ms((int)(intptr_t)argument);
    return NULL;
}

static int thread_ends_with_the_lock(void)
{
    finish(start(end_with_the_lock, (void *)20));
    sleep_ms(20); /* the process goes on after its thread's death */
    return 4;
}

static void death_of_a_thread(int protocol)
{
    make(protocol);
    finish(start(end_with_the_lock, NULL));
    lock_or_inherit();
    EXPECT_EQ(shared->deaths, 1);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);

    atomic_set(&shared->held, 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(thread_ends_with_the_lock());
    }
    int status = -1;
    EXPECT(wait_for_value(&shared->held, 1));
    lock_or_inherit();
    EXPECT_EQ(shared->deaths, 2);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 4);
}

static void death_of_a_thread_is_told(void)
{
    death_of_a_thread(PTHREAD_PRIO_NONE);
}

static void death_of_a_thread_is_told_with_inheritance(void)
{
    death_of_a_thread(PTHREAD_PRIO_INHERIT);
}

/* ---- The main thread's pthread_exit() ---- */

static void *outlive_main(void *argument)
{
    while (atomic_get(&shared->held) != 2) {
        sleep_ms(1);
    }
    exit((int)(intptr_t)argument);
}

/* A process whose main thread ends with the lock, while another one goes on. */
static _Noreturn void main_ends_with_the_lock(void)
{
    pthread_t other = start(outlive_main, (void *)6);
    pthread_detach(other);
    lock_or_inherit();
    atomic_set(&shared->held, 1);
    sleep_ms(20);
    pthread_exit(NULL);
}

static void death_of_main(int protocol)
{
    int status = -1;
    make(protocol);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        main_ends_with_the_lock();
    }
    EXPECT(wait_for_value(&shared->held, 1));
    lock_or_inherit();
    EXPECT_EQ(shared->deaths, 1);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
    atomic_set(&shared->held, 2);
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 6);
}

static void death_of_the_main_thread_is_told(void)
{
    death_of_main(PTHREAD_PRIO_NONE);
    death_of_main(PTHREAD_PRIO_INHERIT);
}

/* Each round counts under the lock; now and then a thread dies in between, having kept the books right. */
static void *count(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        lock_or_inherit();
        EXPECT_EQ(shared->a, shared->b);
        shared->a++;
        if (i % 8 == 0) {
            sched_yield();
        }
        if (i % 20 == 0) {
            sleep_ms(1);
        }
        shared->b++;
        if (argument && i == ROUNDS - 1) {
            return argument;
        }
        EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
    }
    return argument;
}

static int count_in_threads(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i] = start(count, i == 0 ? &shared : NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
    return 4;
}

static void fought_over(int protocol)
{
    int status = -1;
    make(protocol);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(count_in_threads());
    }
    count_in_threads();
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 4);
    lock_or_inherit();
    EXPECT_EQ(shared->a, 2 * THREADS * ROUNDS);
    EXPECT_EQ(shared->b, 2 * THREADS * ROUNDS);
    EXPECT_EQ(shared->deaths, 2);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
}

static void two_processes_and_deaths(void)
{
    fought_over(PTHREAD_PRIO_NONE);
}

static void two_processes_and_deaths_with_inheritance(void)
{
    fought_over(PTHREAD_PRIO_INHERIT);
}

/* ---- Beside locks of the process's own ---- */

static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

/* Who takes a shared lock is still the owner of what it held before. */
static void *hold_both(void *argument)
{
    EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_lock(&checked), 0);
    lock_or_inherit();
    EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_lock(&checked), EDEADLK);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
    EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
    lock_or_inherit();
    EXPECT_EQ(pthread_mutex_unlock(&checked), 0);
    EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(&shared->lock), 0);
    return argument;
}

static void locks_held_before_stay_one_s_own(void)
{
    make(PTHREAD_PRIO_INHERIT);
    finish(start(hold_both, NULL));
    finish(start(hold_both, NULL));
    EXPECT_EQ(pthread_mutex_trylock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(death_of_a_thread_is_told),
        CHECK(death_of_a_thread_is_told_with_inheritance),
        CHECK(death_of_the_main_thread_is_told),
        CHECK(two_processes_and_deaths),
        CHECK(two_processes_and_deaths_with_inheritance),
        CHECK(locks_held_before_stay_one_s_own),
    };
    return CHECKS_RUN(checks, argc, argv);
}
