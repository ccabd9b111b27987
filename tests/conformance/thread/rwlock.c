/* Read-write locks: sharing, exclusion, preference, deadlines, errors. */
#include "check.h"

#include <sched.h>
#include <semaphore.h>

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int readers, most_readers, writers, value, twin;

static const struct kind {
    const char *name;
    int kind;
} kinds[] = {
    { "prefer reader", PTHREAD_RWLOCK_PREFER_READER_NP },
    { "prefer writer", PTHREAD_RWLOCK_PREFER_WRITER_NP },
    { "prefer writer nonrecursive", PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP },
};

static void rwlock_make(int kind)
{
    pthread_rwlockattr_t attr;
    EXPECT_EQ(pthread_rwlockattr_init(&attr), 0);
    EXPECT_EQ(pthread_rwlockattr_setkind_np(&attr, kind), 0);
    EXPECT_EQ(pthread_rwlock_destroy(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_init(&rwlock, &attr), 0);
    EXPECT_EQ(pthread_rwlockattr_destroy(&attr), 0);
}

static void *read_together(void *argument)
{
    pthread_barrier_t *all_inside = argument;
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
    pthread_barrier_wait(all_inside);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    return NULL;
}

static void readers_share(void)
{
    for (int k = 0; k < 3; k++) {
        pthread_barrier_t all_inside;
        pthread_t threads[10];
        rwlock_make(kinds[k].kind);
        pthread_barrier_init(&all_inside, NULL, 10);
        for (int i = 0; i < 10; i++) {
            threads[i] = start(read_together, &all_inside);
        }
        for (int i = 0; i < 10; i++) {
            finish(threads[i]);
        }
        pthread_barrier_destroy(&all_inside);
    }
}

static void *try_both(void *argument)
{
    int *errors = argument;
    errors[0] = pthread_rwlock_tryrdlock(&rwlock);
    if (errors[0] == 0) {
        pthread_rwlock_unlock(&rwlock);
    }
    errors[1] = pthread_rwlock_trywrlock(&rwlock);
    if (errors[1] == 0) {
        pthread_rwlock_unlock(&rwlock);
    }
    return NULL;
}

static void try_forms_tell_who_holds_it(void)
{
    for (int k = 0; k < 3; k++) {
        int errors[2];
        rwlock_make(kinds[k].kind);
        finish(start(try_both, errors));
        EXPECT_EQ(errors[0], 0);
        EXPECT_EQ(errors[1], 0);
        EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
        finish(start(try_both, errors));
        EXPECT_EQ(errors[0], 0);
        EXPECT_EQ(errors[1], EBUSY);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
        finish(start(try_both, errors));
        EXPECT_EQ(errors[0], EBUSY);
        EXPECT_EQ(errors[1], EBUSY);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    }
}

static void owner_of_the_write_lock_gets_EDEADLK(void)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 1000);
    rwlock_make(PTHREAD_RWLOCK_DEFAULT_NP);
    EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), EDEADLK);
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), EDEADLK);
    EXPECT_EQ(pthread_rwlock_timedwrlock(&rwlock, &deadline), EDEADLK);
    EXPECT_EQ(pthread_rwlock_timedrdlock(&rwlock, &deadline), EDEADLK);
    EXPECT_EQ(pthread_rwlock_trywrlock(&rwlock), EBUSY);
    EXPECT_EQ(pthread_rwlock_tryrdlock(&rwlock), EBUSY);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_trywrlock(&rwlock), EBUSY);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_trywrlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
}

static int (*const timed[])(pthread_rwlock_t *, const struct timespec *) = {
    pthread_rwlock_timedrdlock,
    pthread_rwlock_timedwrlock,
};
static int (*const clocked[])(pthread_rwlock_t *, clockid_t, const struct timespec *) = {
    pthread_rwlock_clockrdlock,
    pthread_rwlock_clockwrlock,
};

static void *time_out(void *argument)
{
    int form = (int)(intptr_t)argument;
    for (int way = 0; way < 3; way++) {
        clockid_t clock = way == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        struct timespec deadline = ms_from_now(clock, 20), past = ms_from_now(clock, -20);
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_EQ(way == 0 ? timed[form](&rwlock, &deadline) : clocked[form](&rwlock, clock, &deadline), ETIMEDOUT);
        EXPECT(ms_since(began) >= 19);
        EXPECT_EQ(way == 0 ? timed[form](&rwlock, &past) : clocked[form](&rwlock, clock, &past), ETIMEDOUT);
        deadline.tv_nsec = -1;
        EXPECT_EQ(way == 0 ? timed[form](&rwlock, &deadline) : clocked[form](&rwlock, clock, &deadline), EINVAL);
        EXPECT_EQ(clocked[form](&rwlock, CLOCK_BOOTTIME, &past), EINVAL);
    }
    return NULL;
}

static void timed_forms_time_out(void)
{
    for (int k = 0; k < 3; k++) {
        rwlock_make(kinds[k].kind);
        EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
        finish(start(time_out, (void *)0));
        finish(start(time_out, (void *)1));
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
        finish(start(time_out, (void *)1));
        EXPECT_EQ(pthread_rwlock_tryrdlock(&rwlock), 0);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    }
}

static void timed_forms_take_a_free_lock(void)
{
    struct timespec past = { 1, 0 };
    rwlock_make(PTHREAD_RWLOCK_DEFAULT_NP);
    for (int form = 0; form < 2; form++) {
        EXPECT_EQ(timed[form](&rwlock, &past), 0);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        EXPECT_EQ(clocked[form](&rwlock, CLOCK_MONOTONIC, &past), 0);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    }
}

static int entered;

static void *write_once(void *argument)
{
    atomic_set(&entered, 1);
    EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
    atomic_set(&entered, 2);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    return argument;
}

static void *read_until(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 50);
    int error = pthread_rwlock_timedrdlock(&rwlock, &deadline);
    if (error == 0) {
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    }
    (void)argument;
    return (void *)(intptr_t)error;
}

static void preference_while_a_writer_waits(void)
{
    for (int k = 0; k < 3; k++) {
        int errors[2];
        rwlock_make(kinds[k].kind);
        atomic_set(&entered, 0);
        EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
        pthread_t writer = start(write_once, NULL);
        EXPECT(wait_for_value(&entered, 1));
        sleep_ms(50);
        finish(start(try_both, errors));
        intptr_t reader = (intptr_t)finish(start(read_until, NULL));
        printf("%s: tryrdlock %s, timedrdlock %s\n", kinds[k].name, strerrorname_np(errors[0]),
               strerrorname_np((int)reader));
        EXPECT_EQ(atomic_get(&entered), 1);
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        finish(writer);
        EXPECT_EQ(atomic_get(&entered), 2);
    }
}

static void *write_until(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_MONOTONIC, 40);
    (void)argument;
    return (void *)(intptr_t)pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &deadline);
}

static void *read_once(void *argument)
{
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    return argument;
}

static void timed_out_writer_lets_readers_in(void)
{
    rwlock_make(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
    pthread_t writer = start(write_until, NULL);
    sleep_ms(10);
    /* It waits behind the writer, or comes before it; in any case it ends although the lock stays read-locked. */
    pthread_t reader = start(read_once, NULL);
    EXPECT_EQ((intptr_t)finish(writer), ETIMEDOUT);
    finish(reader);
    EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
}

static void *mix(void *argument)
{
    intptr_t me = (intptr_t)argument;
    for (int i = 0; i < 150; i++) {
        if ((i + me) % 4 == 0) {
            EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
            EXPECT_EQ(atomic_add(&writers, 1), 1);
            EXPECT_EQ(atomic_get(&readers), 0);
            value++;
            if (i % 3 == 0) {
                sched_yield();
            }
            twin++;
            EXPECT_EQ(atomic_add(&writers, -1), 0);
        } else {
            EXPECT_EQ(pthread_rwlock_rdlock(&rwlock), 0);
            int now = atomic_add(&readers, 1);
            if (now > atomic_get(&most_readers)) {
                atomic_set(&most_readers, now);
            }
            EXPECT_EQ(atomic_get(&writers), 0);
            EXPECT_EQ(value, twin);
            if (i % 3 == 0) {
                sched_yield();
            }
            EXPECT_EQ(value, twin);
            atomic_add(&readers, -1);
        }
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
    }
    return NULL;
}

static void readers_and_writers_mix(void)
{
    for (int k = 0; k < 3; k++) {
        pthread_t threads[8];
        rwlock_make(kinds[k].kind);
        value = twin = 0;
        for (intptr_t i = 0; i < 8; i++) {
            threads[i] = start(mix, (void *)i);
        }
        for (int i = 0; i < 8; i++) {
            finish(threads[i]);
        }
        EXPECT_EQ(value, 8 * 150 / 4);
        EXPECT_EQ(twin, value);
    }
}

static void unlock_wakes_the_waiting(void)
{
    for (int k = 0; k < 3; k++) {
        pthread_t threads[6];
        rwlock_make(kinds[k].kind);
        EXPECT_EQ(pthread_rwlock_wrlock(&rwlock), 0);
        for (int i = 0; i < 6; i++) {
            threads[i] = start(mix, (void *)(intptr_t)i);
        }
        let_others_block();
        EXPECT_EQ(pthread_rwlock_unlock(&rwlock), 0);
        for (int i = 0; i < 6; i++) {
            finish(threads[i]);
        }
    }
}

static void attributes(void)
{
    pthread_rwlockattr_t attr;
    int kind = -1, shared = -1;
    EXPECT_EQ(pthread_rwlockattr_init(&attr), 0);
    EXPECT_EQ(pthread_rwlockattr_getkind_np(&attr, &kind), 0);
    EXPECT_EQ(kind, PTHREAD_RWLOCK_DEFAULT_NP);
    EXPECT_EQ(pthread_rwlockattr_setkind_np(&attr, 17), EINVAL);
    EXPECT_EQ(pthread_rwlockattr_getpshared(&attr, &shared), 0);
    EXPECT_EQ(shared, PTHREAD_PROCESS_PRIVATE);
    EXPECT_EQ(pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    EXPECT_EQ(pthread_rwlockattr_setpshared(&attr, 17), EINVAL);
    EXPECT_EQ(pthread_rwlockattr_destroy(&attr), 0);
}

static const struct check checks[] = {
    CHECK(readers_share),
    CHECK(try_forms_tell_who_holds_it),
    CHECK(owner_of_the_write_lock_gets_EDEADLK),
    CHECK(timed_forms_time_out),
    CHECK(timed_forms_take_a_free_lock),
    CHECK(preference_while_a_writer_waits),
    CHECK(timed_out_writer_lets_readers_in),
    CHECK(readers_and_writers_mix),
    CHECK(unlock_wakes_the_waiting),
    CHECK(attributes),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
