/* Mutexes of every type: ownership, recursion, errors, exclusion under contention. */
#include "check.h"

#include <sched.h>

static const struct kind {
    const char *name;
    int type;
} kinds[] = {
    { "normal", PTHREAD_MUTEX_NORMAL },
    { "recursive", PTHREAD_MUTEX_RECURSIVE },
    { "errorcheck", PTHREAD_MUTEX_ERRORCHECK },
    { "adaptive", PTHREAD_MUTEX_ADAPTIVE_NP },
    { "default", PTHREAD_MUTEX_DEFAULT },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void mutex_make(pthread_mutex_t *mutex, int type)
{
    pthread_mutexattr_t attr;
    EXPECT_EQ(pthread_mutexattr_init(&attr), 0);
    EXPECT_EQ(pthread_mutexattr_settype(&attr, type), 0);
    EXPECT_EQ(pthread_mutex_init(mutex, &attr), 0);
    EXPECT_EQ(pthread_mutexattr_destroy(&attr), 0);
}

static void *try_lock(void *argument)
{
    int error = pthread_mutex_trylock(argument);
    if (error == 0) {
        pthread_mutex_unlock(argument);
    }
    return (void *)(intptr_t)error;
}

static void *unlock_only(void *argument)
{
    return (void *)(intptr_t)pthread_mutex_unlock(argument);
}

static void lock_excludes_others(void)
{
    for (int i = 0; i < KINDS; i++) {
        pthread_mutex_t mutex;
        mutex_make(&mutex, kinds[i].type);
        EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), EBUSY);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), 0);
        EXPECT_EQ(pthread_mutex_trylock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), EBUSY);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
        EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
    }
}

static void second_lock_by_the_owner(void)
{
    for (int i = 0; i < KINDS; i++) {
        pthread_mutex_t mutex;
        struct timespec soon = ms_from_now(CLOCK_REALTIME, 10);
        mutex_make(&mutex, kinds[i].type);
        EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
        printf("%s: trylock %s", kinds[i].name, strerrorname_np(pthread_mutex_trylock(&mutex)));
        printf(", timedlock %s\n", strerrorname_np(pthread_mutex_timedlock(&mutex, &soon)));
    }
    pthread_mutex_t mutex;
    mutex_make(&mutex, PTHREAD_MUTEX_ERRORCHECK);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
}

static void recursive_counts(void)
{
    pthread_mutex_t mutex;
    mutex_make(&mutex, PTHREAD_MUTEX_RECURSIVE);
    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(i % 2 ? pthread_mutex_lock(&mutex) : pthread_mutex_trylock(&mutex), 0);
    }
    for (int i = 0; i < 1000; i++) {
        if (i % 100 == 0) {
            EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), EBUSY);
        }
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
    EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
}

static void unlock_by_another_is_EPERM(void)
{
    int types[] = { PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE };
    for (int i = 0; i < 2; i++) {
        pthread_mutex_t mutex;
        mutex_make(&mutex, types[i]);
        EXPECT_EQ((intptr_t)finish(start(unlock_only, &mutex)), EPERM);
        EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(unlock_only, &mutex)), EPERM);
        EXPECT_EQ((intptr_t)finish(start(try_lock, &mutex)), EBUSY);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
}

static void normal_may_be_unlocked_by_another(void)
{
    /* POSIX calls it undefined; programs do it, and glibc lets them. */
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ((intptr_t)finish(start(unlock_only, &mutex)), 0);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

static void static_initialisers(void)
{
    pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
    EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
    EXPECT_EQ(pthread_mutex_lock(&checking), 0);
    EXPECT_EQ(pthread_mutex_lock(&checking), EDEADLK);
    EXPECT_EQ(pthread_mutex_unlock(&checking), 0);
    EXPECT_EQ(pthread_mutex_lock(&adaptive), 0);
    EXPECT_EQ(pthread_mutex_unlock(&adaptive), 0);
}

static void destroy_of_a_locked_one_is_EBUSY(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    EXPECT_EQ(pthread_mutex_destroy(&mutex), EBUSY);
    pthread_mutex_unlock(&mutex);
    EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
}

static void attributes(void)
{
    pthread_mutexattr_t attr;
    int value;
    EXPECT_EQ(pthread_mutexattr_init(&attr), 0);
    EXPECT_EQ(pthread_mutexattr_gettype(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_MUTEX_DEFAULT);
    EXPECT_EQ(pthread_mutexattr_settype(&attr, 99), EINVAL);
    EXPECT_EQ(pthread_mutexattr_settype(&attr, -1), EINVAL);
    for (int i = 0; i < KINDS; i++) {
        EXPECT_EQ(pthread_mutexattr_settype(&attr, kinds[i].type), 0);
        EXPECT_EQ(pthread_mutexattr_gettype(&attr, &value), 0);
        EXPECT_EQ(value, kinds[i].type);
    }
    EXPECT_EQ(pthread_mutexattr_getpshared(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_PROCESS_PRIVATE);
    EXPECT_EQ(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_mutexattr_getpshared(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_PROCESS_SHARED);
    EXPECT_EQ(pthread_mutexattr_setpshared(&attr, 5), EINVAL);
    EXPECT_EQ(pthread_mutexattr_getprotocol(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_PRIO_NONE);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, 7), EINVAL);
    EXPECT_EQ(pthread_mutexattr_getrobust(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_MUTEX_STALLED);
    EXPECT_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
    EXPECT_EQ(pthread_mutexattr_setrobust(&attr, 9), EINVAL);
    EXPECT_EQ(pthread_mutexattr_destroy(&attr), 0);
}

struct contest {
    pthread_mutex_t mutex;
    int recursive;
    int inside;
    long counter;
};

static void *contend(void *argument)
{
    struct contest *contest = argument;
    for (int i = 0; i < 300; i++) {
        if (i % 7 == 3) {
            while (pthread_mutex_trylock(&contest->mutex) != 0) {
                sched_yield();
            }
        } else {
            pthread_mutex_lock(&contest->mutex);
        }
        if (contest->recursive) {
            pthread_mutex_lock(&contest->mutex);
        }
        EXPECT_EQ(atomic_add(&contest->inside, 1), 1);
        long seen = contest->counter;
        if (i % 10 == 0) {
            sched_yield();
        }
        if (i % 100 == 50) {
            sleep_ms(1);
        }
        contest->counter = seen + 1;
        EXPECT_EQ(atomic_add(&contest->inside, -1), 0);
        if (contest->recursive) {
            pthread_mutex_unlock(&contest->mutex);
        }
        EXPECT_EQ(pthread_mutex_unlock(&contest->mutex), 0);
    }
    return NULL;
}

static void contended_locks_lose_nothing(void)
{
    enum { THREADS = 8 };
    for (int i = 0; i < KINDS; i++) {
        struct contest contest = { .recursive = kinds[i].type == PTHREAD_MUTEX_RECURSIVE };
        pthread_t threads[THREADS];
        mutex_make(&contest.mutex, kinds[i].type);
        for (int t = 0; t < THREADS; t++) {
            threads[t] = start(contend, &contest);
        }
        for (int t = 0; t < THREADS; t++) {
            finish(threads[t]);
        }
        EXPECT_EQ(contest.counter, THREADS * 300);
        EXPECT_EQ(pthread_mutex_destroy(&contest.mutex), 0);
    }
}

struct shared_object {
    pthread_mutex_t mutex;
    int references;
};

static void *drop_reference(void *argument)
{
    struct shared_object *object = argument;
    pthread_mutex_lock(&object->mutex);
    int last = --object->references == 0;
    pthread_mutex_unlock(&object->mutex);
    if (last) {
        EXPECT_EQ(pthread_mutex_destroy(&object->mutex), 0);
        memset(object, 0xff, sizeof *object);
        free(object);
    }
    return NULL;
}

static void last_owner_may_destroy_at_once(void)
{
    for (int i = 0; i < 200; i++) {
        struct shared_object *object = malloc(sizeof *object);
        pthread_t threads[3];
        pthread_mutex_init(&object->mutex, NULL);
        object->references = 3;
        for (int t = 0; t < 3; t++) {
            threads[t] = start(drop_reference, object);
        }
        for (int t = 0; t < 3; t++) {
            finish(threads[t]);
        }
    }
}

static const struct check checks[] = {
    CHECK(lock_excludes_others),
    CHECK(second_lock_by_the_owner),
    CHECK(recursive_counts),
    CHECK(unlock_by_another_is_EPERM),
    CHECK(normal_may_be_unlocked_by_another),
    CHECK(static_initialisers),
    CHECK(destroy_of_a_locked_one_is_EBUSY),
    CHECK(attributes),
    CHECK(contended_locks_lose_nothing),
    CHECK(last_owner_may_destroy_at_once),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
