/* Spin locks: exclusion, trylock, and owners that switch, sleep or create threads while they hold one. */
#include "check.h"

#include <sched.h>

static pthread_spinlock_t spin;
static int counter, inside, held;

static void *contend(void *argument)
{
    for (int i = 0; i < 200; i++) {
        EXPECT_EQ(pthread_spin_lock(&spin), 0);
        EXPECT_EQ(atomic_add(&inside, 1), 1);
        int seen = counter;
        if (i % 20 == 0) {
            sched_yield();
        }
        counter = seen + 1;
        EXPECT_EQ(atomic_add(&inside, -1), 0);
        EXPECT_EQ(pthread_spin_unlock(&spin), 0);
    }
    return argument;
}

static void owners_may_yield(void)
{
    pthread_t threads[6];
    EXPECT_EQ(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE), 0);
    for (int i = 0; i < 6; i++) {
        threads[i] = start(contend, NULL);
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(counter, 1200);
    EXPECT_EQ(pthread_spin_destroy(&spin), 0);
}

static void *hold_and_sleep(void *argument)
{
    pthread_spin_lock(&spin);
    atomic_set(&held, 1);
    sleep_ms(20);
    atomic_set(&held, 2);
    pthread_spin_unlock(&spin);
    return argument;
}

static void *lock_once(void *argument)
{
    pthread_spin_lock(&spin);
    EXPECT_EQ(atomic_get(&held), 2);
    pthread_spin_unlock(&spin);
    return argument;
}

static void owner_may_sleep(void)
{
    pthread_t threads[3];
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    atomic_set(&held, 0);
    pthread_t owner = start(hold_and_sleep, NULL);
    EXPECT(wait_for_value(&held, 1));
    EXPECT_EQ(pthread_spin_trylock(&spin), EBUSY);
    for (int i = 0; i < 3; i++) {
        threads[i] = start(lock_once, NULL);
    }
    pthread_spin_lock(&spin);
    EXPECT_EQ(atomic_get(&held), 2);
    pthread_spin_unlock(&spin);
    finish(owner);
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(pthread_spin_trylock(&spin), 0);
    EXPECT_EQ(pthread_spin_unlock(&spin), 0);
}

static void trylock_loop_ends(void)
{
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    atomic_set(&held, 0);
    pthread_t owner = start(hold_and_sleep, NULL);
    EXPECT(wait_for_value(&held, 1));
    while (pthread_spin_trylock(&spin) == EBUSY) {
    }
    EXPECT_EQ(atomic_get(&held), 2);
    EXPECT_EQ(pthread_spin_unlock(&spin), 0);
    finish(owner);
}

static const struct check checks[] = {
    CHECK(owners_may_yield),
    CHECK(owner_may_sleep),
    CHECK(trylock_loop_ends),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
