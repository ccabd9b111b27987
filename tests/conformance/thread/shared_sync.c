/* Mutexes, conditions, barriers, locks and semaphores in memory that forked processes share. */
#include "check.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>

enum { PROCESSES = 3, THREADS = 3, ROUNDS = 60 };

static struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_barrier_t barrier;
    pthread_rwlock_t rwlock;
    pthread_spinlock_t spin;
    sem_t sem, answer;
    int counter, turn, serial, ready, value, twin;
} *shared;

static void shared_make(int type, int protocol, int robust)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;
    pthread_barrierattr_t barrier;
    pthread_rwlockattr_t rwlock;
    if (!shared) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        EXPECT(shared != MAP_FAILED);
    }
    memset(shared, 0, sizeof *shared);
    pthread_mutexattr_init(&mutex);
    EXPECT_EQ(pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_mutexattr_settype(&mutex, type), 0);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&mutex, protocol), 0);
    EXPECT_EQ(pthread_mutexattr_setrobust(&mutex, robust), 0);
    EXPECT_EQ(pthread_mutex_init(&shared->mutex, &mutex), 0);
    pthread_condattr_init(&cond);
    EXPECT_EQ(pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_cond_init(&shared->cond, &cond), 0);
    pthread_barrierattr_init(&barrier);
    EXPECT_EQ(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_barrier_init(&shared->barrier, &barrier, PROCESSES * THREADS), 0);
    pthread_rwlockattr_init(&rwlock);
    EXPECT_EQ(pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_rwlock_init(&shared->rwlock, &rwlock), 0);
    EXPECT_EQ(pthread_spin_init(&shared->spin, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(sem_init(&shared->sem, 1, 0), 0);
    EXPECT_EQ(sem_init(&shared->answer, 1, 0), 0);
}

static void *(*thread_function)(void *);

/* The same threads in every process, the first process being this one. */
static int threads_run(void)
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(thread_function, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
    return 0;
}

static void everywhere(void *(*function)(void *))
{
    pid_t children[PROCESSES - 1];
    thread_function = function;
    for (int i = 0; i < PROCESSES - 1; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            check_failures = 0;
            threads_run();
            _exit(check_failures ? 99 : 0);
        }
    }
    threads_run();
    for (int i = 0; i < PROCESSES - 1; i++) {
        int status = -1;
        EXPECT_EQ(waitpid(children[i], &status, 0), children[i]);
        EXPECT_EQ(status, 0);
    }
}

static void *count_under_mutex(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT_EQ(pthread_mutex_lock(&shared->mutex), 0);
        int seen = shared->counter;
        if (i % 8 == 0) {
            sched_yield();
        }
        if (i % 30 == 0) {
            sleep_ms(1);
        }
        shared->counter = seen + 1;
        EXPECT_EQ(pthread_mutex_unlock(&shared->mutex), 0);
    }
    return argument;
}

static void mutex_excludes_across_processes(void)
{
    const struct {
        int type, protocol, robust;
    } kinds[] = {
        { PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED },
        { PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED },
        { PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED },
        { PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST },
        { PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED },
        { PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ROBUST },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        shared_make(kinds[i].type, kinds[i].protocol, kinds[i].robust);
        everywhere(count_under_mutex);
        EXPECT_EQ(shared->counter, PROCESSES * THREADS * ROUNDS);
    }
}

static void *count_under_spin(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT_EQ(pthread_spin_lock(&shared->spin), 0);
        shared->counter++;
        EXPECT_EQ(pthread_spin_unlock(&shared->spin), 0);
    }
    return argument;
}

static void spin_lock_excludes_across_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    everywhere(count_under_spin);
    EXPECT_EQ(shared->counter, PROCESSES * THREADS * ROUNDS);
}

static void *write_under_rwlock(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 4 == 0) {
            EXPECT_EQ(pthread_rwlock_wrlock(&shared->rwlock), 0);
            shared->value++;
            sched_yield();
            shared->twin++;
        } else {
            EXPECT_EQ(pthread_rwlock_rdlock(&shared->rwlock), 0);
            EXPECT_EQ(shared->value, shared->twin);
        }
        EXPECT_EQ(pthread_rwlock_unlock(&shared->rwlock), 0);
    }
    return argument;
}

static void rwlock_excludes_across_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    everywhere(write_under_rwlock);
    EXPECT_EQ(shared->value, PROCESSES * THREADS * ROUNDS / 4);
}

static void *meet(void *argument)
{
    for (int i = 1; i <= 20; i++) {
        int result = pthread_barrier_wait(&shared->barrier);
        EXPECT(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        atomic_add(&shared->serial, result == PTHREAD_BARRIER_SERIAL_THREAD);
        pthread_barrier_wait(&shared->barrier);
        EXPECT_EQ(atomic_get(&shared->serial), i);
        pthread_barrier_wait(&shared->barrier);
    }
    return argument;
}

static void barrier_joins_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    everywhere(meet);
    EXPECT_EQ(shared->serial, 20);
}

static int child_of_turns(void)
{
    pthread_mutex_lock(&shared->mutex);
    for (int i = 0; i < 100; i++) {
        while (shared->turn != 1) {
            pthread_cond_wait(&shared->cond, &shared->mutex);
        }
        shared->turn = 0;
        pthread_cond_broadcast(&shared->cond);
    }
    pthread_mutex_unlock(&shared->mutex);
    return 0;
}

static void *parent_of_turns(void *argument)
{
    pthread_mutex_lock(&shared->mutex);
    for (int i = 0; i < 100; i++) {
        while (shared->turn != 0) {
            pthread_cond_wait(&shared->cond, &shared->mutex);
        }
        shared->turn = 1;
        pthread_cond_broadcast(&shared->cond);
    }
    pthread_mutex_unlock(&shared->mutex);
    return argument;
}

static void condition_passes_turns_between_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    pthread_t thread = start(parent_of_turns, NULL);
    EXPECT_EXITS(child_run(child_of_turns), 0);
    finish(thread);
}

static int child_of_semaphores(void)
{
    for (int i = 0; i < 200; i++) {
        EXPECT_EQ(sem_wait(&shared->sem), 0);
        EXPECT_EQ(sem_post(&shared->answer), 0);
    }
    return 7;
}

static void *parent_of_semaphores(void *argument)
{
    for (int i = 0; i < 200; i++) {
        struct timespec deadline = ms_from_now(CLOCK_REALTIME, 10000);
        EXPECT_EQ(sem_post(&shared->sem), 0);
        EXPECT_EQ(i % 2 ? sem_wait(&shared->answer) : sem_timedwait(&shared->answer, &deadline), 0);
    }
    return argument;
}

static void semaphore_passes_turns_between_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    pthread_t thread = start(parent_of_semaphores, NULL);
    EXPECT_EXITS(child_run(child_of_semaphores), 7);
    finish(thread);
}

static char sem_name[64];

static int child_of_named(void)
{
    sem_t *sem = sem_open(sem_name, 0);
    EXPECT(sem != SEM_FAILED);
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(sem_wait(sem), 0);
        EXPECT_EQ(sem_post(&shared->answer), 0);
    }
    return 8;
}

static void *parent_of_named(void *argument)
{
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(sem_post(argument), 0);
        EXPECT_EQ(sem_wait(&shared->answer), 0);
    }
    return argument;
}

static void named_semaphore_passes_turns_between_processes(void)
{
    shared_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    snprintf(sem_name, sizeof sem_name, "/conformance-shared.%d", getpid());
    sem_t *sem = sem_open(sem_name, O_CREAT | O_EXCL, 0600, 0);
    EXPECT(sem != SEM_FAILED);
    pthread_t thread = start(parent_of_named, sem);
    EXPECT_EXITS(child_run(child_of_named), 8);
    finish(thread);
    EXPECT_EQ(sem_unlink(sem_name), 0);
    sem_close(sem);
}

static int die_with_the_lock(void)
{
    EXPECT_EQ(pthread_mutex_lock(&shared->mutex), 0);
    return 5;
}

static void *lock_after_death(void *argument)
{
    (void)argument;
    int error = pthread_mutex_lock(&shared->mutex);
    EXPECT_EQ(pthread_mutex_consistent(&shared->mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&shared->mutex), 0);
    return (void *)(intptr_t)error;
}

static int wait_then_die_with_the_lock(void)
{
    EXPECT_EQ(pthread_mutex_lock(&shared->mutex), 0);
    atomic_set(&shared->ready, 1);
    sleep_ms(50);
    return 5;
}

static void death_of_a_process_is_told(void)
{
    for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_INHERIT; protocol++) {
        shared_make(PTHREAD_MUTEX_NORMAL, protocol, PTHREAD_MUTEX_ROBUST);
        EXPECT_EXITS(child_run(die_with_the_lock), 5);
        EXPECT_EQ((intptr_t)finish(start(lock_after_death, NULL)), EOWNERDEAD);
        pid_t child = fork();
        if (child == 0) {
            _exit(wait_then_die_with_the_lock());
        }
        EXPECT(wait_for_value(&shared->ready, 1));
        EXPECT_EQ((intptr_t)finish(start(lock_after_death, NULL)), EOWNERDEAD);
        EXPECT_EQ(waitpid(child, NULL, 0), child);
        EXPECT_EQ(pthread_mutex_lock(&shared->mutex), 0);
        EXPECT_EQ(pthread_mutex_unlock(&shared->mutex), 0);
    }
}

static const struct check checks[] = {
    CHECK(mutex_excludes_across_processes),
    CHECK(spin_lock_excludes_across_processes),
    CHECK(rwlock_excludes_across_processes),
    CHECK(barrier_joins_processes),
    CHECK(condition_passes_turns_between_processes),
    CHECK(semaphore_passes_turns_between_processes),
    CHECK(named_semaphore_passes_turns_between_processes),
    CHECK(death_of_a_process_is_told),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
