/* Priority-inheriting and priority-protected mutexes; values that depend on privileges are printed, not judged. */
#include "check.h"

#include <sched.h>

static pthread_mutex_t mutex;

static void mutex_make(int type, int protocol, int ceiling)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    EXPECT_EQ(pthread_mutexattr_settype(&attr, type), 0);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    if (ceiling) {
        EXPECT_EQ(pthread_mutexattr_setprioceiling(&attr, ceiling), 0);
    }
    EXPECT_EQ(pthread_mutex_init(&mutex, &attr), 0);
}

static void *try_lock(void *argument)
{
    (void)argument;
    int error = pthread_mutex_trylock(&mutex);
    if (error == 0) {
        pthread_mutex_unlock(&mutex);
    }
    return (void *)(intptr_t)error;
}

static void *unlock_only(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)pthread_mutex_unlock(&mutex);
}

static void inheriting_locks_keep_their_types(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ((intptr_t)finish(start(try_lock, NULL)), EBUSY);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ((intptr_t)finish(start(try_lock, NULL)), 0);
    EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);

    mutex_make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_INHERIT, 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
    EXPECT_EQ((intptr_t)finish(start(unlock_only, NULL)), EPERM);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);

    mutex_make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_INHERIT, 0);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(try_lock, NULL)), EBUSY);
    }
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
    EXPECT_EQ((intptr_t)finish(start(try_lock, NULL)), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
}

static void *timed_lock(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 30);
    (void)argument;
    return (void *)(intptr_t)pthread_mutex_timedlock(&mutex, &deadline);
}

static void inheriting_timedlock_times_out(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_EQ((intptr_t)finish(start(timed_lock, NULL)), ETIMEDOUT);
    EXPECT(ms_since(began) >= 29);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ((intptr_t)finish(start(timed_lock, NULL)), 0);
}

static int counter, inside;

static void *contend(void *argument)
{
    for (int i = 0; i < 200; i++) {
        EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
        EXPECT_EQ(atomic_add(&inside, 1), 1);
        int seen = counter;
        if (i % 8 == 0) {
            sched_yield();
        }
        if (i % 100 == 99) {
            sleep_ms(1);
        }
        counter = seen + 1;
        EXPECT_EQ(atomic_add(&inside, -1), 0);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
    return argument;
}

static void inheriting_locks_exclude(void)
{
    pthread_t threads[8];
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0);
    for (int i = 0; i < 8; i++) {
        threads[i] = start(contend, NULL);
    }
    for (int i = 0; i < 8; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(counter, 1600);
    EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;

static void *take_turns(void *argument)
{
    int me = argument != NULL;
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    for (int i = 0; i < 200; i++) {
        while (turn != me) {
            EXPECT_EQ(pthread_cond_wait(&cond, &mutex), 0);
        }
        turn = !me;
        pthread_cond_signal(&cond);
    }
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    return NULL;
}

static void conditions_work_with_inheriting_locks(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0);
    pthread_t first = start(take_turns, NULL), second = start(take_turns, &mutex);
    finish(first);
    finish(second);
}

static void ceilings_have_bounds(void)
{
    pthread_mutexattr_t attr;
    int value, low = sched_get_priority_min(SCHED_FIFO), high = sched_get_priority_max(SCHED_FIFO);
    pthread_mutexattr_init(&attr);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_PROTECT), 0);
    EXPECT_EQ(pthread_mutexattr_getprotocol(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_PRIO_PROTECT);
    EXPECT_EQ(pthread_mutexattr_getprioceiling(&attr, &value), 0);
    EXPECT_EQ(value, low);
    EXPECT_EQ(pthread_mutexattr_setprioceiling(&attr, low - 1), EINVAL);
    EXPECT_EQ(pthread_mutexattr_setprioceiling(&attr, high + 1), EINVAL);
    EXPECT_EQ(pthread_mutexattr_setprioceiling(&attr, high), 0);
    EXPECT_EQ(pthread_mutexattr_getprioceiling(&attr, &value), 0);
    EXPECT_EQ(value, high);
    EXPECT_EQ(pthread_mutex_init(&mutex, &attr), 0);
    EXPECT_EQ(pthread_mutex_getprioceiling(&mutex, &value), 0);
    EXPECT_EQ(value, high);
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, 0);
    EXPECT_EQ(pthread_mutex_getprioceiling(&mutex, &value), EINVAL);
    EXPECT_EQ(pthread_mutex_setprioceiling(&mutex, 5, &value), EINVAL);
}

static void *use_protected(void *argument)
{
    struct sched_param param = { .sched_priority = 5 };
    int old = -1;
    (void)argument;
    printf("setschedparam %d\n", pthread_setschedparam(pthread_self(), SCHED_FIFO, &param));
    printf("lock %d\n", pthread_mutex_lock(&mutex));
    printf("unlock %d\n", pthread_mutex_unlock(&mutex));
    printf("trylock %d\n", pthread_mutex_trylock(&mutex));
    printf("unlock %d\n", pthread_mutex_unlock(&mutex));
    printf("setprioceiling %d", pthread_mutex_setprioceiling(&mutex, 20, &old));
    printf(" old %d\n", old);
    printf("setprioceiling to low %d", pthread_mutex_setprioceiling(&mutex, 2, &old));
    printf(" old %d\n", old);
    printf("lock above the ceiling %d\n", pthread_mutex_lock(&mutex));
    return NULL;
}

static void protected_locks_with_a_priority(void)
{
    mutex_make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_PROTECT, 10);
    finish(start(use_protected, NULL));
}

static void *use_protected_without_priority(void *argument)
{
    (void)argument;
    printf("plain lock %d\n", pthread_mutex_lock(&mutex));
    printf("plain trylock %d\n", pthread_mutex_trylock(&mutex));
    printf("plain unlock %d\n", pthread_mutex_unlock(&mutex));
    return NULL;
}

static void protected_locks_without_a_priority(void)
{
    mutex_make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_PROTECT, 10);
    finish(start(use_protected_without_priority, NULL));
}

static const struct check checks[] = {
    CHECK(inheriting_locks_keep_their_types),
    CHECK(inheriting_timedlock_times_out),
    CHECK(inheriting_locks_exclude),
    CHECK(conditions_work_with_inheriting_locks),
    CHECK(ceilings_have_bounds),
    CHECK(protected_locks_with_a_priority),
    CHECK(protected_locks_without_a_priority),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
