/* Cancellation. Its state lies in libc's control block, so pthread_setcancelstate(), _settype(),
 * the forms of pthread_cleanup_push() and _pop(), and libc's own cancellation points inside real
 * calls all work on a green thread as they are, and the unwinding is libc's. What is left is to
 * wake one that is parked, and to reach one that blocks in a real call or computes on another OS
 * thread.
 */
#include "cancel.h"

#include <errno.h>
#include <pthread.h>

#include "patch.h"
#include "rawsignal.h"
#include "thread.h"

_Atomic bool cancel_used;

void cancel_act(void)
{
    if (cancel_pending())
        real.pthread_testcancel();
}

void cancel_interrupted(void)
{
    uintptr_t tp = (uintptr_t)__builtin_thread_pointer();
    if (libc_cancel_pending(tp) && libc_cancel_async(tp))
        real.pthread_testcancel();
}

/* ---- The signal ---- */

/* libc's cancellation points switch to asynchronous cancellation while they are in the kernel. Sent
 * to an OS thread for the sake of one green thread, the signal may find another there, or the
 * runtime: then whoever leaves the runtime looks (the hook calls cancel_interrupted()). */
static void cancel_signal(int sig, siginfo_t *info, void *context)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    if (info->si_code == SI_TKILL && own == OWN_HUB) {
        raw_mask(SIG_BLOCK, sig); /* until the return: the next one may be sent at any moment from then on */
        offload_prodded(context);
    }
    if (info->si_code != SI_TKILL || own == OWN_HUB || own == OWN_VFORK)
        return;
    if (atomic_load_explicit(&green_tls.in, memory_order_relaxed)) {
        atomic_store_explicit(&green_tls.deferred, 1, memory_order_relaxed);
        return;
    }
    cancel_interrupted();
}

/* False after libc may have installed its own handler. Several threads may install ours at once. */
static _Atomic bool cancel_installed;

static void cancel_install(void)
{
    if (atomic_load(&cancel_installed))
        return;
    /* The return from the handler is libc's, known to unwinders: borrowed from the other signal,
     * which libc has set up with the first real thread. */
    struct raw_action action;
    if (raw_sigaction(RAW_SIGSETXID, NULL, &action) == 0) {
        action.handler = cancel_signal;
        action.flags = SA_SIGINFO | SA_RESTART | SA_NODEFER | (action.flags & RAW_SA_RESTORER);
        action.mask = 0;
        if (raw_sigaction(RAW_SIGCANCEL, &action, NULL) == 0)
            atomic_store(&cancel_installed, true);
    }
}

void cancel_prod(int tid)
{
    cancel_install();
    sys_3(SYS_tgkill, sys_0(SYS_getpid), tid, RAW_SIGCANCEL);
}

/* ---- The calls ---- */

static int cancel_green(struct thread *t)
{
    uintptr_t tp = t->green.coro.tp;
    if (!thread_lives(t))
        return atomic_load(&t->life) & THREAD_GONE ? ESRCH : 0;
    bool first = libc_cancel(tp);
    if (t == thread_self()) {
        cancel_interrupted();
        return 0;
    }
    if (!first || !libc_cancel_pending(tp))
        return 0; /* told before; or disabled: it will find out when it enables it */
    green_interrupt(&t->green, INTERRUPT_CANCEL);
    cancel_install();
    green_kick(&t->green, RAW_SIGCANCEL, NULL);
    return 0;
}

int green_pthread_cancel(pthread_t id)
{
    (void)patch_passes(PATCH_pthread_cancel);
    atomic_store(&cancel_used, true);
    struct thread *t = thread_of(id);
    if (t)
        return cancel_green(t);
    int error = real.pthread_cancel(id);
    atomic_store(&cancel_installed, false);
    return error;
}

/* A thread may wait for its end in a loop over this call alone. */
void green_pthread_testcancel(void)
{
    PASS_UNLESS_GREEN_VOID(pthread_testcancel);
    cancel_act();
    green_futile();
}
