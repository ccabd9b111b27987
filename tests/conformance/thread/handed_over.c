/* A thread that always retakes a lock at once, and waits while it holds it, keeps nobody from it for long:
 * who has lost twice is next. (The kernel promises nothing of the sort.) */
#include "check.h"

enum { ROUNDS = 100, SOON = 20 };

static pthread_mutex_t simple = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int got;

static void *lock_once(void *argument)
{
    EXPECT_EQ(pthread_mutex_lock(argument), 0);
    atomic_set(&got, 1);
    EXPECT_EQ(pthread_mutex_unlock(argument), 0);
    return argument;
}

static void hand_over(pthread_mutex_t *mutex)
{
    int rounds = 0;
    atomic_set(&got, 0);
    EXPECT_EQ(pthread_mutex_lock(mutex), 0);
    pthread_t waiter = start(lock_once, mutex);
    while (rounds < ROUNDS && !atomic_get(&got)) {
        sleep_ms(1);
        EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
        EXPECT_EQ(pthread_mutex_lock(mutex), 0);
        rounds++;
    }
    EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
    EXPECT(rounds <= SOON);
    finish(waiter);
}

static void simple_lock_is_handed_over(void)
{
    hand_over(&simple);
}

static void recursive_lock_is_handed_over(void)
{
    hand_over(&recursive);
}

static const struct check checks[] = {
    CHECK(simple_lock_is_handed_over),
    CHECK(recursive_lock_is_handed_over),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
