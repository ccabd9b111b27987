/* Signals and green threads.
 *
 * The kernel runs our trampoline for every handler of the program's. What it does depends on where
 * the signal found the OS thread:
 *   in a green thread's (or a foreign thread's) own code: the handler runs at once, there, unless
 *     another process sent it and the main thread waits: then it is main's;
 *   inside the runtime (green_tls.in): the signal becomes pending for that thread, and its handler
 *     runs when the thread leaves the runtime, or interrupts what it waits for;
 *   on a hub that polls: pending for the process; the hub gives it to a green thread that does not
 *     block it, the main one first, as the kernel would.
 * A signal for one green thread (pthread_kill) becomes pending there and interrupts it. Faults
 * always run their handler at once.
 */
#include "preload/signal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/action.h"
#include "preload/kick.h"
#include "preload/patch.h"
#include "preload/rawsignal.h"
#include "preload/sigrecord.h"
#include "preload/thread.h"
#include "preload/timer.h"

/* ---- Masks ---- */

static bool swap_handled(const struct green *g)
{
    return g->mask_swapped && g->handlers_ran != g->swapped_at;
}

bool signal_swap_begin(struct signal_swap *s, struct green *g, uint64_t mask)
{
    *s = (struct signal_swap){g->mask, g->swapped_at, g->mask_swapped};
    g->swapped_at = g->handlers_ran;
    g->mask_swapped = true;
    green_set_mask(g, mask);
    signal_run_pending(g);
    return swap_handled(g);
}

void signal_swap_end(const struct signal_swap *s, struct green *g)
{
    g->swapped_at = s->swapped_at;
    g->mask_swapped = s->mask_swapped;
    green_set_mask(g, s->mask);
    signal_run_pending(g);
}

/* A handler begins on g: a wait under a swapped mask has to hear of it, though no wait of the
 * handler's own. Returns what handler_ended() needs. */
static bool handler_begun(struct green *g)
{
    bool swapped = g->mask_swapped;
    g->handlers_ran++;
    g->mask_swapped = false;
    return swapped;
}

static void handler_ended(struct green *g, bool swapped)
{
    g->mask_swapped = swapped;
    if (swapped) /* it looks before it parks */
        atomic_fetch_or(&g->interrupts, INTERRUPT_SIGNAL);
}

/* ---- Running handlers ---- */

/* From within the trampoline: what is pending goes back to the kernel, which runs the handlers when this
 * frame returns; at once they would pile up on the stack. */
static void kernel_runs_pending(struct green *g, const ucontext_t *context)
{
    uint64_t held = signals_hold();
    signal_run_pending(g);
    signals_release(held);
    green_mask_is(g, signal_mask_of(&context->uc_sigmask));
}

/* While the handler runs, the thread's mask is what the kernel has made it, so that a switch inside
 * keeps it; afterwards what the context says, which the kernel puts back when the frame returns. */
static void handler_call(struct green *g, int sig, siginfo_t *info, ucontext_t *context,
                         const struct sigaction *act)
{
    uint64_t during = (g ? g->mask : 0) | signal_mask_of(&act->sa_mask) |
                      (act->sa_flags & SA_NODEFER ? 0 : signal_bit(sig));
    bool on_alt = g && g->alt_stack && signal_on_alt_stack(g); /* not within another handler's use */
    if (g)
        green_mask_is(g, during);
    if (on_alt)
        green_alt_stack_used(g, true);
    bool swapped = g && handler_begun(g);
    if (act->sa_flags & (int)SA_RESETHAND)
        action_reset(sig);
    bool nests = act->sa_flags & SA_NODEFER && !sigismember(&act->sa_mask, sig);
    if (nests)
        raw_mask(SIG_UNBLOCK, sig);
    if (act->sa_flags & SA_SIGINFO)
        act->sa_sigaction(sig, info, context);
    else
        ((void (*)(int, siginfo_t *, void *))(void (*)(void))act->sa_handler)(sig, info, context);
    if (nests)
        raw_mask(SIG_BLOCK, sig);
    if (g)
        handler_ended(g, swapped);
    if (on_alt && g->alt_in_use)
        green_alt_stack_used(g, false);
    if (!g)
        return;
    green_mask_is(g, signal_mask_of(&context->uc_sigmask));
    /* What came while this one blocked it: the kick for it may have become one with what arrives here. */
    if (atomic_load(&g->pending) & ~g->mask)
        kernel_runs_pending(g, context);
}

/* The program took its handler away after the signal had come and before its thread could run it. A
 * kernel thread would have run it by then, unless it blocked the signal: then it is the default action's
 * now. */
static bool signal_is_late(const struct signal_record *r, const struct sigaction *act)
{
    struct sigaction now;
    return r->open && !(act->sa_flags & (int)SA_RESETHAND) &&
           real.sigaction(r->sig, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* The kernel has one pending of a number below SIGRTMIN: what g sends to itself is dropped where a kick is
 * on its way, and the kick is what comes. So what was sent is remembered until a signal of its number
 * comes, whichever it is; with signals held off, for a handler may come and look itself. */
static void resent_add(struct green *g, const struct signal_record *sent)
{
    struct signal_record *r = sent->sig < __SIGRTMIN ? sigrecord_new() : NULL;
    if (!r)
        return;
    *r = *sent;
    r->dropped = action_dropped(r->sig);
    r->next = g->resent;
    g->resent = r;
}

/* False when nothing of this number was sent, or the program has since had it dropped. */
static bool resent_take(struct green *g, int sig, siginfo_t *info)
{
    if (!g || !g->resent || sig >= __SIGRTMIN)
        return false;
    uint64_t held = signals_hold();
    bool got = false;
    for (struct signal_record **slot = &g->resent; *slot;) {
        struct signal_record *r = *slot;
        if (r->sig != sig) {
            slot = &r->next;
            continue;
        }
        *slot = r->next;
        if (r->dropped == action_dropped(sig)) {
            *info = r->info;
            got = true;
        }
        sigrecord_free(r);
    }
    signals_release(held);
    return got;
}

static void pending_process_take(struct green *g);

int signal_run_pending(struct green *g)
{
    int ran = 0;
    int saved = errno;
    for (;;) {
        pending_process_take(g);
        uint64_t ready = atomic_load(&g->pending) & ~g->mask;
        if (!ready)
            break;
        int sig = __builtin_ctzll(ready) + 1;
        struct signal_record r;
        if (!sigrecord_take(g, sig, &r))
            continue;
        struct sigaction act = signal_action(sig);
        if (signal_is_late(&r, &act))
            continue;
        bool handled = action_is_handler(&act);
        if (handled && !ran)
            ran = HANDLERS_RAN | HANDLERS_ALL_RESTART;
        if (handled && !(act.sa_flags & SA_RESTART))
            ran &= ~HANDLERS_ALL_RESTART;
        /* The kernel runs it, here and before the call returns: on the right stack, with the mask
         * and the flags that the program asked for. Or it does what it does without a handler. */
        uint64_t held = signals_hold(); /* a kick comes before it is sent, or after */
        long sent = sys_4(SYS_rt_tgsigqueueinfo, sys_0(SYS_getpid), sys_0(SYS_gettid), sig, &r.info);
        if (sent == 0 && handled)
            resent_add(g, &r);
        signals_release(held);
        if (sent < 0) {
            sigrecord_send(g, sig, &r.info, r.open); /* too many are queued: later */
            break;
        }
    }
    if (swap_handled(g))
        ran |= HANDLERS_RAN;
    errno = saved;
    return ran;
}

bool signal_take(struct green *g, uint64_t set, siginfo_t *info)
{
    uint64_t ready;
    while ((ready = atomic_load(&g->pending) & set)) {
        struct signal_record r;
        if (sigrecord_take(g, __builtin_ctzll(ready) + 1, &r)) {
            *info = r.info;
            return true;
        }
    }
    return false;
}

/* ---- Pending for the process: came on a hub's stack ---- */

static struct signal_record *_Atomic process_arrived;
static _Atomic int process_count[_NSIG]; /* of each number, until a thread or the kernel has it again */

static void process_push(struct signal_record *r)
{
    atomic_fetch_add(&process_count[r->sig], 1);
    sigrecord_push(&process_arrived, r);
}

/* For `target`, or for whom process_deliver() chooses. */
static void process_came(int sig, const siginfo_t *info, struct green *target)
{
    struct signal_record *r = sigrecord_new();
    if (r) {
        r->sig = sig;
        r->target = target;
        r->info = *info;
        process_push(r);
    }
    hub_signal();
}

/* Only the main OS thread may send itself what looks like a sender's or the kernel's own signal. The
 * others can say the same of the process itself, and of another one all but how it sent. */
void signal_requeue(int sig, const siginfo_t *info)
{
    pid_t pid = (pid_t)sys_0(SYS_getpid);
    if (sys_3(SYS_rt_sigqueueinfo, pid, sig, info) != -EPERM)
        return;
    if (info->si_code == SI_USER && info->si_pid == pid) {
        sys_2(SYS_kill, pid, sig);
        return;
    }
    siginfo_t queued = *info;
    queued.si_code = SI_QUEUE;
    sys_3(SYS_rt_sigqueueinfo, pid, sig, &queued);
}

static void process_passed(struct signal_record *r)
{
    atomic_fetch_sub(&process_count[r->sig], 1);
    sigrecord_free(r);
}

uint64_t signal_process_pending(void)
{
    uint64_t set = 0;
    if (atomic_load(&process_arrived))
        for (int sig = 1; sig < _NSIG; sig++)
            set |= atomic_load(&process_count[sig]) > 0 ? signal_bit(sig) : 0;
    return set;
}

struct choice {
    int sig;
    struct green *chosen;
    struct green *bound;
};

static void choose(struct green *g, void *data)
{
    struct choice *c = data;
    if (g->mask & signal_bit(c->sig) || (g->foreign && !g->bound))
        return;
    struct green **best = g->foreign ? &c->bound : &c->chosen;
    if (!*best || g->id < (*best)->id)
        *best = g;
}

/* On the hub's context: hand out what came while it polled. What every green thread has blocked
 * since the hub began to poll goes back to the kernel, where sigpending() and sigwait() find it.
 * What only a bound thread lets in is for that one: the kernel, which asks the main OS thread first,
 * would bring it to the hub again. */
static void process_deliver(void)
{
    struct signal_record *r = atomic_exchange(&process_arrived, NULL);
    while (r) {
        struct signal_record *next = r->next;
        struct choice c = {.sig = r->sig, .chosen = r->target};
        if (!r->target)
            green_each(choose, &c);
        struct green *to = c.chosen ? c.chosen : c.bound;
        if (to) {
            sigrecord_send(to, r->sig, &r->info, true);
            green_interrupt(to, INTERRUPT_SIGNAL);
            action_kick(to, r->sig); /* it may compute, or wait in the kernel */
        } else {
            hub_mask_refresh();
            signal_requeue(r->sig, &r->info);
        }
        process_passed(r);
        r = next;
    }
}

/* A thread ended with signals that it had taken for the process; what was for it alone is gone. */
static void process_inherit(struct green *g)
{
    while (g->resent) {
        struct signal_record *r = g->resent;
        g->resent = r->next;
        sigrecord_free(r);
    }
    sigrecords_settle(g);
    while (g->queued) {
        struct signal_record *r = g->queued;
        g->queued = r->next;
        if (r->info.si_code == SI_TKILL) {
            sigrecord_free(r);
        } else {
            r->target = NULL;
            process_push(r);
        }
    }
    atomic_store(&g->pending, 0);
    hub_signal();
}

/* A green thread that has just unblocked signals takes what nobody could. */
static void pending_process_take(struct green *g)
{
    if (__builtin_expect(!atomic_load_explicit(&process_arrived, memory_order_relaxed), 1))
        return;
    uint64_t held = signals_hold();
    struct signal_record *r = atomic_exchange(&process_arrived, NULL);
    bool left = false;
    while (r) {
        struct signal_record *next = r->next;
        if (g->mask & signal_bit(r->sig) || (r->target && r->target != g)) {
            sigrecord_push(&process_arrived, r);
            left = true;
        } else {
            sigrecord_send(g, r->sig, &r->info, true);
            process_passed(r);
        }
        r = next;
    }
    if (left) /* a hub may just have found nothing */
        hub_signal();
    signals_release(held);
}

/* ---- The trampoline ---- */

static bool is_fault(int sig, const siginfo_t *info)
{
    return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE ||
                                 sig == SIGILL || sig == SIGTRAP || sig == SIGSYS);
}

/* What another process sends is the main thread's unless that has blocked it: the kernel asks it first,
 * and programs rely on a signal to end main's poll(). Here it comes to whichever thread runs. */
static struct green *signal_main(const struct green *g, int own, int sig, const siginfo_t *info)
{
    if (!g || g->foreign || own > OWN_DETACHED ||
        (info->si_code != SI_USER && info->si_code != SI_QUEUE) ||
        info->si_pid == (pid_t)sys_0(SYS_getpid))
        return NULL;
    struct green *main_green = thread_main_waiting();
    return main_green && !(main_green->mask & signal_bit(sig)) ? main_green : NULL;
}

void action_trampoline(int sig, siginfo_t *info, void *context)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    struct green *g = green_tls.self;
    struct sigaction act = signal_action(sig);
    if (own == OWN_VFORK || is_fault(sig, info)) {
        handler_call(own <= OWN_DETACHED && !atomic_load(&green_tls.in) ? g : NULL, sig, info,
                     context, &act);
        return;
    }
    int saved = errno;
    bool kick = kick_received(sig, info);
    siginfo_t resent;
    if (resent_take(g, sig, &resent) && kick) {
        info = &resent;
        kick = false;
    }
    struct green *target = timer_target(info);
    if (!target && !kick)
        target = signal_main(g, own, sig, info);
    if (target && target != g) {
        /* Within the runtime its queues may be half changed: a hub will pass it on. */
        if (atomic_exchange(&green_tls.in, 1)) {
            process_came(sig, info, target);
            errno = saved;
            return;
        }
        sigrecord_send(target, sig, info, true);
        green_interrupt(target, INTERRUPT_SIGNAL);
        atomic_store(&green_tls.in, 0);
    } else if (kick && (!g || own >= OWN_HUB || (g->foreign && !g->bound))) {
        /* Whom it was sent for runs here no more, and has heard. */
    } else if (own == OWN_HUB) {
        process_came(sig, info, NULL);
    } else if (g && atomic_load_explicit(&green_tls.in, memory_order_relaxed)) {
        /* The kernel's mask may be that of the thread which follows g: what g blocks is not g's. */
        if (!kick && !g->foreign && g->mask & signal_bit(sig)) {
            process_came(sig, info, NULL);
            errno = saved;
            return;
        }
        if (!kick)
            sigrecord_send(g, sig, info, true);
        green_interrupt(g, INTERRUPT_SIGNAL);
    } else if (!g) {
        handler_call(NULL, sig, info, context, &act);
    } else if (kick) {
        kernel_runs_pending(g, context);
    } else if (g->foreign && !g->bound) {
        handler_call(NULL, sig, info, context, &act);
    } else {
        handler_call(g, sig, info, context, &act);
    }
    errno = saved;
}

/* ---- Sending to one green thread ---- */

static bool ignored_by_default(int sig)
{
    return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

int signal_send(struct green *g, int sig, const siginfo_t *info)
{
    struct sigaction now;
    if (real.sigaction(sig, NULL, &now))
        return EINVAL;
    bool waits = g->wait_signals & signal_bit(sig);
    bool blocked = g->mask & signal_bit(sig);
    if (!waits && !blocked && now.sa_handler == SIG_IGN)
        return 0;
    if (!waits && !blocked && now.sa_handler == SIG_DFL) {
        if (!ignored_by_default(sig))
            sys_2(SYS_kill, sys_0(SYS_getpid), sig);
        return 0;
    }
    if (sig < SIGRTMIN && atomic_load(&g->pending) & signal_bit(sig))
        return 0;
    int error = sigrecord_send(g, sig, info, !waits && !blocked);
    if (error)
        return error;
    if (g == self_green()) {
        if (!atomic_load(&green_tls.in))
            signal_run_pending(g);
        return 0;
    }
    green_interrupt(g, INTERRUPT_SIGNAL);
    if (!blocked && action_is_handler(&now))
        action_kick(g, sig);
    return 0;
}

void signal_start(void)
{
    hub_signal_hook = process_deliver;
    hub_orphans_hook = process_inherit;
}

void signal_fork(void)
{
    action_fork();
    atomic_store(&process_arrived, NULL);
    for (int sig = 1; sig < _NSIG; sig++)
        atomic_store(&process_count[sig], 0);
    struct green *g = self_green();
    if (g) {
        atomic_store(&g->pending, 0);
        atomic_store(&g->bare, 0);
        atomic_store(&g->arrived, NULL);
        g->queued = g->resent = NULL;
    }
    sigrecords_fork();
}
