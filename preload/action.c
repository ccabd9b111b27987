/* What the program wants done with signals. The kernel is told of our trampoline instead of a handler;
 * the handlers themselves are here.
 */
#include "preload/action.h"

#include <errno.h>
#include <string.h>

#include "coro/lock.h"
#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/kick.h"
#include "preload/patch.h"
#include "preload/signal.h"

/* Written under action_lock with signals held off, read by the trampoline without. */
static struct lock action_lock;
static struct {
    _Atomic uint32_t version; /* odd while it is being written */
    struct sigaction action;
} action_table[_NSIG];
static sigset_t action_interrupts; /* siginterrupt(sig, 1) was called; action_lock */

struct sigaction signal_action(int sig)
{
    struct sigaction copy;
    uint32_t before, after;
    do {
        before = atomic_load(&action_table[sig].version);
        copy = action_table[sig].action;
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load(&action_table[sig].version);
    } while (before != after || before & 1);
    return copy;
}

static void action_store(int sig, const struct sigaction *act)
{
    atomic_fetch_add(&action_table[sig].version, 1);
    action_table[sig].action = *act;
    atomic_fetch_add(&action_table[sig].version, 1);
}

static _Atomic uint32_t action_drops[_NSIG];

uint32_t action_dropped(int sig)
{
    return atomic_load(&action_drops[sig]);
}

bool action_is_handler(const struct sigaction *act)
{
    return act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN;
}

/* Under the lock, so that the handler cannot be taken away between the look and the kick. */
void action_kick(struct green *g, int sig)
{
    struct sigaction now;
    uint64_t held = signals_hold();
    lock_acquire(&action_lock);
    if (real.sigaction(sig, NULL, &now) == 0 && action_is_handler(&now))
        kick_send(g, sig);
    lock_release(&action_lock);
    signals_release(held);
}

/* What the kernel is never told. It would spend SA_RESETHAND on a kick; and with SA_NODEFER it would make
 * frames of all signals that wait, one within the other, on whatever stack the carrier is, before the
 * trampoline sees the first. */
enum { ACTION_HIDDEN = (int)(SA_RESETHAND | SA_NODEFER) };

void action_reset(int sig)
{
    struct sigaction now, none = {.sa_handler = SIG_DFL};
    uint64_t held = signals_hold();
    lock_acquire(&action_lock);
    if (real.sigaction(sig, NULL, &now) == 0 && action_is_handler(&now)) {
        struct kicks kicks;
        kick_flush(&kicks, sig);
        real.sigaction(sig, &none, NULL);
        atomic_fetch_add(&action_drops[sig], 1);
        kick_flushed(&kicks);
    }
    lock_release(&action_lock);
    signals_release(held);
}

static int action_change(int sig, const struct sigaction *act, struct sigaction *old)
{
    struct sigaction kernel, before = {0};
    struct kicks kicks = {0};
    bool ours = sig > 0 && sig < _NSIG;
    lock_acquire(&action_lock);
    if (ours)
        before = action_table[sig].action;
    if (act)
        kernel = *act;
    if (act && ours && action_is_handler(act)) {
        kernel.sa_sigaction = action_trampoline;
        kernel.sa_flags = (kernel.sa_flags | SA_SIGINFO) & ~ACTION_HIDDEN;
        if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33)
            action_store(sig, act);
    }
    struct sigaction was;
    int result = real.sigaction(sig, NULL, &was);
    if (result == 0 && act) {
        if (ours && act->sa_handler == SIG_DFL && action_is_handler(&was))
            kick_flush(&kicks, sig);
        result = real.sigaction(sig, &kernel, NULL);
        kick_flushed(&kicks);
        if (result == 0 && !action_is_handler(act))
            atomic_fetch_add(&action_drops[sig], 1);
    }
    lock_release(&action_lock);
    if (result == 0 && old) {
        *old = was;
        if (was.sa_sigaction == action_trampoline && (was.sa_flags & SA_SIGINFO)) {
            const int hidden = SA_SIGINFO | ACTION_HIDDEN;
            old->sa_flags = (was.sa_flags & ~hidden) | (before.sa_flags & hidden);
            old->sa_sigaction = before.sa_sigaction;
        }
    }
    return result;
}

/* Is a lock that the handler's own thread may hold safe here? sigaction() is async-signal-safe:
 * signals are held off while the table is written. */
int green_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    if (patch_special && patch_special_enter(PATCH_sigaction))
        return real.sigaction(sig, act, old);
    if (atomic_load_explicit(&green_tls.own, memory_order_relaxed) == OWN_VFORK && act &&
        !action_is_handler(act))
        return real.sigaction(sig, act, old);
    uint64_t held = signals_hold();
    int result = action_change(sig, act, old);
    signals_release(held);
    return result;
}

static __sighandler_t action_simple(int sig, __sighandler_t handler, int flags)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;
    if (handler == SIG_ERR || sig < 1 || sig >= _NSIG) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return green_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

__sighandler_t green_signal(int sig, __sighandler_t handler)
{
    bool restart = sig < 1 || sig >= _NSIG || !sigismember(&action_interrupts, sig);
    return action_simple(sig, handler, restart ? SA_RESTART : 0);
}

__sighandler_t green_sysv_signal(int sig, __sighandler_t handler)
{
    return action_simple(sig, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

int green_siginterrupt(int sig, int interrupt)
{
    struct sigaction act;
    if (green_sigaction(sig, NULL, &act))
        return -1;
    if (interrupt)
        sigaddset(&action_interrupts, sig);
    else
        sigdelset(&action_interrupts, sig);
    act.sa_flags = interrupt ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
    return green_sigaction(sig, &act, NULL);
}

void action_fork(void)
{
    lock_init(&action_lock);
}
