/* Native helper threads: libgreen's own OS threads, made by libc's real pthread_create. */
#include <signal.h>
#include <sys/prctl.h>

#include "../coro/libc.h"
#include "gen/real.h"
#include "internal.h"

/* OS threads of ours that live, the main one counted; and the most there were. */
static _Atomic unsigned native_count = 1, native_peak = 1;

void native_begin(void)
{
    unsigned n = atomic_fetch_add(&native_count, 1) + 1, peak = atomic_load(&native_peak);
    while (n > peak && !atomic_compare_exchange_weak(&native_peak, &peak, n))
        ;
    atomic_store(&green_tls.own, OWN_HUB);
}

void native_name(const char *name)
{
    sys_5(SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
}

void native_end(void)
{
    atomic_fetch_sub(&native_count, 1);
}

unsigned native_threads(unsigned *peak)
{
    *peak = atomic_load(&native_peak);
    return atomic_load(&native_count);
}

void native_fork(void)
{
    atomic_store(&native_count, 1);
    atomic_store(&native_peak, 1);
}

/* The static TLS of the program comes out of a thread's stack size, so it is added to `stack`. */
int native_thread(void *(*fn)(void *), void *arg, size_t stack)
{
    uint64_t all = MASK_ALL, before;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack + ((libc_tcb_below() + 4095) & ~(size_t)4095));
    pthread_t t;
    int error = real.pthread_create(&t, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return error;
}
