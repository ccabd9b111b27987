#include "preload/kick.h"

#include <stdint.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/signal.h"

/* How many were sent and came, of each number. Some never come: their OS thread ends, or two of them
 * become one. So equal counts say that none is on its way, and others that one may be. */
static _Atomic unsigned kick_sent[_NSIG], kick_came[_NSIG];

/* What si_value of a kick points to. */
static char kick_mark;

static bool kick_is(const siginfo_t *info)
{
    return info->si_code == SI_QUEUE && info->si_value.sival_ptr == &kick_mark;
}

void kick_send(struct green *g, int sig)
{
    siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
    info.si_pid = (pid_t)sys_0(SYS_getpid);
    info.si_value.sival_ptr = &kick_mark;
    atomic_fetch_add(&kick_sent[sig], 1);
    if (!green_kick(g, sig, &info))
        atomic_fetch_sub(&kick_sent[sig], 1);
}

bool kick_received(int sig, const siginfo_t *info)
{
    if (!kick_is(info))
        return false;
    atomic_fetch_add(&kick_came[sig], 1);
    return true;
}

static bool kick_on_its_way(int sig)
{
    return atomic_load(&kick_sent[sig]) != atomic_load(&kick_came[sig]);
}

/* By default nothing happens; and ignoring SIGCHLD for a moment would lose children. */
static bool kick_harmless(int sig)
{
    return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

/* Takes what of `sig` is pending for the calling OS thread or the process; keeps what is no kick. */
static int kick_take(int sig, siginfo_t *kept, int room)
{
    static const struct timespec zero;
    uint64_t set = signal_bit(sig);
    siginfo_t info;
    int n = 0;
    while (n < room && sys_4(SYS_rt_sigtimedwait, &set, &info, &zero, sizeof set) == sig)
        if (!kick_received(sig, &info))
            kept[n++] = info;
    return n;
}

/* Ignoring a signal drops what is pending of it, on all OS threads. */
void kick_flush(struct kicks *k, int sig)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    k->sig = 0;
    if (!kick_on_its_way(sig) || kick_harmless(sig))
        return;
    k->sig = sig;
    k->kept = kick_take(sig, k->info, KICKS_KEPT);
    real.sigaction(sig, &ignore, NULL);
}

void kick_flushed(const struct kicks *k)
{
    for (int i = 0; k->sig && i < k->kept; i++)
        signal_requeue(k->sig, &k->info[i]);
}

void kick_before_exec(void)
{
    uint64_t mask;
    if (atomic_load_explicit(&green_tls.own, memory_order_relaxed) == OWN_VFORK ||
        sys_4(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof mask))
        return;
    for (int sig = 1; sig < _NSIG; sig++) {
        struct kicks k;
        if (!(mask & signal_bit(sig)) || !kick_on_its_way(sig))
            continue;
        k.sig = sig;
        k.kept = kick_take(sig, k.info, KICKS_KEPT);
        kick_flushed(&k);
    }
}
