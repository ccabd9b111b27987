/* Semaphores of one process: values, deadlines, errors, posts from handlers, named ones. */
#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>

static sem_t sem;
static int taken;

static int sem_value(sem_t *which)
{
    int value = -1;
    EXPECT_EQ(sem_getvalue(which, &value), 0);
    return value;
}

static void *take_one(void *argument)
{
    EXPECT_EQ(sem_wait(&sem), 0);
    atomic_add(&taken, 1);
    return argument;
}

static void counts(void)
{
    EXPECT_EQ(sem_init(&sem, 0, 3), 0);
    EXPECT_EQ(sem_value(&sem), 3);
    EXPECT_EQ(sem_wait(&sem), 0);
    EXPECT_EQ(sem_trywait(&sem), 0);
    EXPECT_EQ(sem_wait(&sem), 0);
    EXPECT_EQ(sem_value(&sem), 0);
    EXPECT_ERRNO(sem_trywait(&sem), EAGAIN);
    EXPECT_EQ(sem_post(&sem), 0);
    EXPECT_EQ(sem_value(&sem), 1);
    EXPECT_EQ(sem_destroy(&sem), 0);
}

static void bounds(void)
{
    EXPECT_ERRNO(sem_init(&sem, 0, (unsigned)SEM_VALUE_MAX + 1), EINVAL);
    EXPECT_EQ(sem_init(&sem, 0, SEM_VALUE_MAX), 0);
    EXPECT_ERRNO(sem_post(&sem), EOVERFLOW);
    EXPECT_EQ(sem_value(&sem), SEM_VALUE_MAX);
    EXPECT_EQ(sem_destroy(&sem), 0);
}

static void each_post_wakes_one(void)
{
    pthread_t threads[10];
    sem_init(&sem, 0, 0);
    atomic_set(&taken, 0);
    for (int i = 0; i < 10; i++) {
        threads[i] = start(take_one, NULL);
    }
    for (int i = 1; i <= 10; i++) {
        EXPECT_EQ(sem_post(&sem), 0);
        EXPECT(wait_for_value(&taken, i));
        sleep_ms(2);
        EXPECT_EQ(atomic_get(&taken), i);
    }
    for (int i = 0; i < 10; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(sem_value(&sem), 0);
}

static void *ping(void *argument)
{
    sem_t *pair = argument;
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(sem_wait(&pair[0]), 0);
        EXPECT_EQ(sem_post(&pair[1]), 0);
    }
    return NULL;
}

static void threads_take_turns(void)
{
    sem_t pair[2];
    sem_init(&pair[0], 0, 0);
    sem_init(&pair[1], 0, 0);
    pthread_t thread = start(ping, pair);
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(sem_post(&pair[0]), 0);
        EXPECT_EQ(sem_wait(&pair[1]), 0);
    }
    finish(thread);
}

static void timed_forms_time_out(void)
{
    sem_init(&sem, 0, 0);
    for (int way = 0; way < 3; way++) {
        clockid_t clock = way == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        struct timespec deadline = ms_from_now(clock, 25), past = ms_from_now(clock, -25), negative = { -2, 0 };
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_ERRNO(way == 0 ? sem_timedwait(&sem, &deadline) : sem_clockwait(&sem, clock, &deadline), ETIMEDOUT);
        EXPECT(ms_since(began) >= 24);
        EXPECT(ms_since(began) < 15000);
        EXPECT_ERRNO(way == 0 ? sem_timedwait(&sem, &past) : sem_clockwait(&sem, clock, &past), ETIMEDOUT);
        EXPECT_ERRNO(way == 0 ? sem_timedwait(&sem, &negative) : sem_clockwait(&sem, clock, &negative), ETIMEDOUT);
        deadline.tv_nsec = 1000000000;
        EXPECT_ERRNO(way == 0 ? sem_timedwait(&sem, &deadline) : sem_clockwait(&sem, clock, &deadline), EINVAL);
    }
    EXPECT_ERRNO(sem_clockwait(&sem, CLOCK_BOOTTIME, &(struct timespec){ 0, 0 }), EINVAL);
    sem_post(&sem);
    EXPECT_EQ(sem_timedwait(&sem, &(struct timespec){ 0, 0 }), 0);
}

static void *wait_patiently(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 10000);
    EXPECT_EQ(sem_timedwait(&sem, &deadline), 0);
    atomic_add(&taken, 1);
    return argument;
}

static void *wait_impatiently(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_MONOTONIC, (intptr_t)argument % 3);
    return (void *)(intptr_t)sem_clockwait(&sem, CLOCK_MONOTONIC, &deadline);
}

static void timed_out_waiters_lose_no_post(void)
{
    for (int round = 0; round < 40; round++) {
        pthread_t impatient[5];
        sem_init(&sem, 0, 0);
        for (intptr_t i = 0; i < 5; i++) {
            impatient[i] = start(wait_impatiently, (void *)i);
        }
        pthread_t patient = start(wait_patiently, NULL);
        int got = 0;
        for (int i = 0; i < 6; i++) {
            sem_post(&sem);
            sched_yield();
        }
        finish(patient);
        for (int i = 0; i < 5; i++) {
            got += finish(impatient[i]) == NULL;
        }
        EXPECT_EQ(got + sem_value(&sem), 5);
    }
}

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    sem_post(&sem);
    errno = saved;
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static void handler_may_post(void)
{
    pthread_t threads[5];
    sem_init(&sem, 0, 0);
    atomic_set(&taken, 0);
    handle(SIGUSR1, on_signal, SA_RESTART);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(take_one, NULL);
    }
    for (int i = 1; i <= 5; i++) {
        EXPECT_EQ(raise(SIGUSR1), 0);
        EXPECT(wait_for_value(&taken, i));
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
}

static void timer_may_post_while_all_wait(void)
{
    sem_init(&sem, 0, 0);
    handle(SIGALRM, on_signal, SA_RESTART);
    atomic_set(&taken, 0);
    pthread_t thread = start(take_one, NULL);
    ualarm(20000, 0);
    finish(thread);
    EXPECT_EQ(taken, 1);
}

static int handled;

static void count_signal(int number)
{
    (void)number;
    atomic_add(&handled, 1);
}

static void *wait_for_EINTR(void *argument)
{
    int result = sem_wait(argument), error = errno;
    return (void *)(intptr_t)(result == 0 ? 0 : error);
}

static void wait_is_interrupted_unless_restarted(void)
{
    handle(SIGUSR2, count_signal, 0);
    sem_init(&sem, 0, 0);
    pthread_t thread = start(wait_for_EINTR, &sem);
    void *value = NULL;
    while (pthread_tryjoin_np(thread, &value) == EBUSY) {
        pthread_kill(thread, SIGUSR2);
        sleep_ms(2);
    }
    EXPECT_EQ((intptr_t)value, EINTR);
    handle(SIGUSR2, count_signal, SA_RESTART);
    thread = start(wait_for_EINTR, &sem);
    atomic_set(&handled, 0);
    for (int i = 0; i < 10; i++) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR2);
    }
    sem_post(&sem);
    EXPECT(finish(thread) == NULL);
    EXPECT(atomic_get(&handled) > 0);
}

static void *hold_reference(void *argument)
{
    sem_t *heap = argument;
    EXPECT_EQ(sem_wait(heap), 0);
    EXPECT_EQ(sem_destroy(heap), 0);
    memset(heap, 0xff, sizeof *heap);
    free(heap);
    return NULL;
}

static void waiter_may_destroy_when_woken(void)
{
    for (int i = 0; i < 200; i++) {
        sem_t *heap = malloc(sizeof *heap);
        sem_init(heap, 0, 0);
        pthread_t thread = start(hold_reference, heap);
        if (i % 2) {
            sched_yield();
        }
        sem_post(heap);
        finish(thread);
    }
}

static void named_ones(void)
{
    char name[64];
    snprintf(name, sizeof name, "/conformance-sem.%d", getpid());
    errno = 0;
    EXPECT(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
    sem_t *first = sem_open(name, O_CREAT | O_EXCL, 0600, 2);
    EXPECT(first != SEM_FAILED);
    EXPECT(sem_open(name, O_CREAT | O_EXCL, 0600, 2) == SEM_FAILED && errno == EEXIST);
    sem_t *second = sem_open(name, 0);
    EXPECT(second == first);
    EXPECT(sem_open("/no/slash", O_CREAT, 0600, 0) == SEM_FAILED && errno == EINVAL);
    EXPECT(sem_open(name, O_CREAT | O_EXCL, 0600, (unsigned)SEM_VALUE_MAX + 1) == SEM_FAILED && errno == EINVAL);
    EXPECT_EQ(sem_value(second), 2);
    EXPECT_EQ(sem_wait(first), 0);
    EXPECT_EQ(sem_wait(second), 0);
    EXPECT_ERRNO(sem_trywait(first), EAGAIN);
    pthread_t thread = start(wait_for_EINTR, first);
    sleep_ms(5);
    EXPECT_EQ(sem_post(second), 0);
    EXPECT(finish(thread) == NULL);
    EXPECT_EQ(sem_close(second), 0);
    EXPECT_EQ(sem_value(first), 0);
    EXPECT_EQ(sem_unlink(name), 0);
    EXPECT_ERRNO(sem_unlink(name), ENOENT);
    EXPECT_EQ(sem_post(first), 0);
    EXPECT_EQ(sem_close(first), 0);
    EXPECT(sem_open(name, 0) == SEM_FAILED);
}

static const struct check checks[] = {
    CHECK(counts),
    CHECK(bounds),
    CHECK(each_post_wakes_one),
    CHECK(threads_take_turns),
    CHECK(timed_forms_time_out),
    CHECK(timed_out_waiters_lose_no_post),
    CHECK(handler_may_post),
    CHECK(timer_may_post_while_all_wait),
    CHECK(wait_is_interrupted_unless_restarted),
    CHECK(waiter_may_destroy_when_woken),
    CHECK(named_ones),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
