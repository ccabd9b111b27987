/* Spin locks: a green thread that spun would keep the owner from running, so it yields; and where
 * yielding does not help, because the owner runs on alone, it sleeps for moments. */
#include "preload/locks.h"

enum {
    SPIN_YIELDS = 200,
    SPIN_SLEEP = 50000, /* ns */
};

int green_pthread_spin_lock(volatile pthread_spinlock_t *lock)
{
    if (lock_attached() && !real.pthread_spin_trylock(lock))
        return 0;
    PASS_UNLESS_GREEN(pthread_spin_lock, lock);
    for (int i = 0; real.pthread_spin_trylock(lock); i++) {
        if (i < SPIN_YIELDS)
            green_yield();
        else
            sleep_until(deadline_after(SPIN_SLEEP), 0);
    }
    return 0;
}

int green_pthread_spin_trylock(volatile pthread_spinlock_t *lock)
{
    PASS_UNLESS_GREEN(pthread_spin_trylock, lock);
    int error = real.pthread_spin_trylock(lock);
    if (error)
        green_futile();
    return error;
}
