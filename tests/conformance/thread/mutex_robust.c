/* Robust mutexes: the next owner learns of an owner's death, and the lock can be made consistent or is lost. */
#include "check.h"

#include <semaphore.h>

static pthread_mutex_t mutex;
static sem_t locked, leave;

static void mutex_make(int type, int protocol)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    EXPECT_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
    EXPECT_EQ(pthread_mutexattr_settype(&attr, type), 0);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    EXPECT_EQ(pthread_mutex_init(&mutex, &attr), 0);
    sem_init(&locked, 0, 0);
    sem_init(&leave, 0, 0);
}

enum death { RETURN, EXIT, CANCEL };

static void *die_holding(void *argument)
{
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    sem_post(&locked);
    sem_wait(&leave);
    switch ((enum death)(intptr_t)argument) {
    case RETURN:
        return NULL;
    case EXIT:
        pthread_exit(NULL);
    default:
        pthread_cancel(pthread_self());
        pthread_testcancel();
        return NULL;
    }
}

static void let_one_die(enum death death)
{
    pthread_t thread = start(die_holding, (void *)(intptr_t)death);
    sem_wait(&locked);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
    sem_post(&leave);
    finish(thread);
}

static void next_owner_gets_EOWNERDEAD(int protocol)
{
    for (enum death death = RETURN; death <= CANCEL; death++) {
        for (int way = 0; way < 4; way++) {
            struct timespec later = ms_from_now(way == 3 ? CLOCK_MONOTONIC : CLOCK_REALTIME, 10000);
            mutex_make(PTHREAD_MUTEX_NORMAL, protocol);
            let_one_die(death);
            EXPECT_EQ(way == 0   ? pthread_mutex_lock(&mutex)
                      : way == 1 ? pthread_mutex_trylock(&mutex)
                      : way == 2 ? pthread_mutex_timedlock(&mutex, &later)
                      : protocol == PTHREAD_PRIO_NONE ? pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &later)
                                                      : pthread_mutex_lock(&mutex),
                      EOWNERDEAD);
            EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
            EXPECT_EQ(pthread_mutex_consistent(&mutex), EINVAL);
            EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
            EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
            EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
            EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
        }
    }
}

static void death_gives_EOWNERDEAD(void)
{
    next_owner_gets_EOWNERDEAD(PTHREAD_PRIO_NONE);
}

static void death_gives_EOWNERDEAD_with_inheritance(void)
{
    next_owner_gets_EOWNERDEAD(PTHREAD_PRIO_INHERIT);
}

static void *lock_and_report(void *argument)
{
    intptr_t error = pthread_mutex_lock(&mutex);
    (void)argument;
    if (error == EOWNERDEAD) {
        EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
    }
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    return (void *)error;
}

/* Only where the first one makes it consistent: else glibc forgets to wake the others, natively too. */
static void one_waiter_learns_of_the_death(void)
{
    for (int round = 0; round < 5; round++) {
        pthread_t threads[4];
        int told = 0, untold = 0;
        mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
        pthread_t owner = start(die_holding, (void *)EXIT);
        sem_wait(&locked);
        for (int i = 0; i < 4; i++) {
            threads[i] = start(lock_and_report, NULL);
        }
        let_others_block();
        sem_post(&leave);
        finish(owner);
        for (int i = 0; i < 4; i++) {
            intptr_t error = (intptr_t)finish(threads[i]);
            told += error == EOWNERDEAD;
            untold += error == 0;
        }
        EXPECT_EQ(told, 1);
        EXPECT_EQ(untold, 3);
        EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
    }
}

static void unlock_without_consistent_is_for_good(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    let_one_die(RETURN);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), ENOTRECOVERABLE);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), ENOTRECOVERABLE);
    EXPECT_EQ(pthread_mutex_consistent(&mutex), EINVAL);
    EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
}

static void death_of_the_second_owner_too(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    for (int i = 0; i < 3; i++) {
        let_one_die(i);
        EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
        EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
}

static void *lock_inconsistent_and_die(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)pthread_mutex_lock(&mutex);
}

static void death_of_an_owner_who_had_not_made_it_consistent(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    let_one_die(RETURN);
    EXPECT_EQ((intptr_t)finish(start(lock_inconsistent_and_die, NULL)), EOWNERDEAD);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
    EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

static void types_keep_their_rules(void)
{
    mutex_make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
    mutex_make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    let_one_die(RETURN);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
    EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
}

static void consistent_of_a_stalled_one_is_EINVAL(void)
{
    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    EXPECT_EQ(pthread_mutex_consistent(&plain), EINVAL);
}

static pthread_mutex_t many[20];

static void *die_holding_many(void *argument)
{
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pthread_mutex_lock(&many[i]), 0);
    }
    for (int i = 3; i < 20; i += 4) {
        EXPECT_EQ(pthread_mutex_unlock(&many[i]), 0);
    }
    return argument;
}

static void all_that_were_held_tell(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 20; i++) {
        pthread_mutex_init(&many[i], &attr);
    }
    finish(start(die_holding_many, NULL));
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pthread_mutex_trylock(&many[i]), i % 4 == 3 ? 0 : EOWNERDEAD);
        EXPECT_EQ(pthread_mutex_consistent(&many[i]), i % 4 == 3 ? EINVAL : 0);
        EXPECT_EQ(pthread_mutex_unlock(&many[i]), 0);
    }
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int waiting;

static void *wait_on_cond(void *argument)
{
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    waiting = 1;
    intptr_t error = pthread_cond_wait(&cond, &mutex);
    EXPECT_EQ(pthread_mutex_consistent(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    (void)argument;
    return (void *)error;
}

static void *signal_and_die(void *argument)
{
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    pthread_cond_signal(&cond);
    sleep_ms(20);
    return argument;
}

static void cond_wait_tells_of_the_death(void)
{
    mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    pthread_t waiter = start(wait_on_cond, NULL);
    for (int entered = 0; !entered; sched_yield()) {
        pthread_mutex_lock(&mutex);
        entered = waiting;
        pthread_mutex_unlock(&mutex);
    }
    finish(start(signal_and_die, NULL));
    EXPECT_EQ((intptr_t)finish(waiter), EOWNERDEAD);
}

static void *die_with_plain(void *argument)
{
    pthread_mutex_lock(argument);
    return NULL;
}

static void stalled_one_stays_locked(void)
{
    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    finish(start(die_with_plain, &plain));
    EXPECT_EQ(pthread_mutex_trylock(&plain), EBUSY);
}

static const struct check checks[] = {
    CHECK(death_gives_EOWNERDEAD),
    CHECK(death_gives_EOWNERDEAD_with_inheritance),
    CHECK(one_waiter_learns_of_the_death),
    CHECK(unlock_without_consistent_is_for_good),
    CHECK(death_of_the_second_owner_too),
    CHECK(death_of_an_owner_who_had_not_made_it_consistent),
    CHECK(types_keep_their_rules),
    CHECK(consistent_of_a_stalled_one_is_EINVAL),
    CHECK(all_that_were_held_tell),
    CHECK(cond_wait_tells_of_the_death),
    CHECK(stalled_one_stays_locked),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
