/* C11's locks: libc lays them out as POSIX's, and so do we. */
#include <threads.h>

#include "preload/locks.h"
#include "preload/once.h"

_Static_assert(sizeof(mtx_t) <= sizeof(pthread_mutex_t) &&
                   sizeof(cnd_t) <= sizeof(pthread_cond_t) &&
                   sizeof(once_flag) == sizeof(pthread_once_t),
               "C11's objects are not POSIX's");

static int c11_result(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case ENOMEM:
        return thrd_nomem;
    case ETIMEDOUT:
        return thrd_timedout;
    case EBUSY:
        return thrd_busy;
    default:
        return thrd_error;
    }
}

int green_mtx_lock(mtx_t *mutex)
{
    return c11_result(green_pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int green_mtx_timedlock(mtx_t *mutex, const struct timespec *abs)
{
    return c11_result(green_pthread_mutex_timedlock((pthread_mutex_t *)mutex, abs));
}

int green_mtx_trylock(mtx_t *mutex)
{
    return c11_result(green_pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int green_mtx_unlock(mtx_t *mutex)
{
    return c11_result(green_pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int green_cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return c11_result(green_pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int green_cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *abs)
{
    return c11_result(
        green_pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, abs));
}

int green_cnd_signal(cnd_t *cond)
{
    return c11_result(green_pthread_cond_signal((pthread_cond_t *)cond));
}

int green_cnd_broadcast(cnd_t *cond)
{
    return c11_result(green_pthread_cond_broadcast((pthread_cond_t *)cond));
}

void green_cnd_destroy(cnd_t *cond)
{
    green_pthread_cond_destroy((pthread_cond_t *)cond);
}

void green_call_once(once_flag *once, void (*init)(void))
{
    if (__builtin_expect(patch_special, 0) && patch_special_enter(PATCH_call_once))
        real.call_once(once, init);
    else
        once_call((int *)once, init);
}
