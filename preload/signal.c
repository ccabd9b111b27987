/* Signals and green threads.
 *
 * The kernel runs our trampoline for every handler of the program's. What it does depends on where
 * the signal found the OS thread:
 *   in a green thread's (or a foreign thread's) own code: the handler runs at once, there;
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

#include "coro/lock.h"
#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/timer.h"

/* ---- The program's actions: written under action_lock, read by the trampoline without ---- */

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

/* ---- Records ---- */

enum { RECORDS = 1024 };
static struct signal_record records[RECORDS];
static _Atomic uint64_t records_used[RECORDS / 64];

static struct signal_record *record_new(void)
{
    for (int i = 0; i < RECORDS / 64; i++) {
        uint64_t used = atomic_load_explicit(&records_used[i], memory_order_relaxed);
        while (~used) {
            int bit = __builtin_ctzll(~used);
            if (atomic_compare_exchange_weak(&records_used[i], &used, used | (UINT64_C(1) << bit)))
                return &records[i * 64 + bit];
        }
    }
    return NULL;
}

static void record_free(struct signal_record *r)
{
    size_t i = (size_t)(r - records);
    atomic_fetch_and(&records_used[i / 64], ~(UINT64_C(1) << i % 64));
}

/* What is pending for a thread, or for the process. */
static void record_push(struct signal_record *_Atomic *list, struct signal_record *r)
{
    r->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(list, &r->next, r))
        ;
}

/* Move what has arrived, oldest first, behind what is queued. */
static void records_settle(struct green *g)
{
    struct signal_record *r = atomic_exchange(&g->arrived, NULL), *ordered = NULL;
    while (r) {
        struct signal_record *next = r->next;
        r->next = ordered;
        ordered = r;
        r = next;
    }
    struct signal_record **end = &g->queued;
    while (*end)
        end = &(*end)->next;
    *end = ordered;
}

static bool record_take(struct green *g, int sig, siginfo_t *info)
{
    records_settle(g);
    struct signal_record **slot = &g->queued;
    while (*slot && (*slot)->sig != sig)
        slot = &(*slot)->next;
    struct signal_record *r = *slot;
    if (!r) {
        *info = (siginfo_t){.si_signo = sig, .si_code = SI_USER};
        atomic_fetch_and(&g->pending, ~signal_bit(sig));
        return false;
    }
    *info = r->info;
    *slot = r->next;
    record_free(r);
    for (r = g->queued; r && r->sig != sig; r = r->next)
        ;
    if (!r)
        atomic_fetch_and(&g->pending, ~signal_bit(sig));
    return true;
}

/* ---- Masks ---- */

uint64_t signal_mask_of(const sigset_t *set)
{
    uint64_t mask;
    memcpy(&mask, set, sizeof mask);
    return mask & ~(UINT64_C(3) << 31) & ~signal_bit(SIGKILL) & ~signal_bit(SIGSTOP);
}

void signal_set_of(uint64_t mask, sigset_t *set)
{
    memset(set, 0, sizeof *set);
    memcpy(set, &mask, sizeof mask);
}

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
    if (act->sa_flags & SA_SIGINFO)
        act->sa_sigaction(sig, info, context);
    else
        ((void (*)(int, siginfo_t *, void *))(void (*)(void))act->sa_handler)(sig, info, context);
    if (g)
        handler_ended(g, swapped);
    if (on_alt && g->alt_in_use)
        green_alt_stack_used(g, false);
    if (g)
        green_mask_is(g, signal_mask_of(&context->uc_sigmask));
}

static bool is_handler(const struct sigaction *act)
{
    return act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN;
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
        siginfo_t info;
        record_take(g, sig, &info);
        struct sigaction act = signal_action(sig);
        if (!is_handler(&act))
            continue;
        if (!ran)
            ran = HANDLERS_RAN | HANDLERS_ALL_RESTART;
        if (!(act.sa_flags & SA_RESTART))
            ran &= ~HANDLERS_ALL_RESTART;
        /* The kernel runs it, here and before the call returns: on the right stack, with the mask
         * and the flags that the program asked for. */
        sys_4(SYS_rt_tgsigqueueinfo, sys_0(SYS_getpid), sys_0(SYS_gettid), sig, &info);
    }
    if (swap_handled(g))
        ran |= HANDLERS_RAN;
    errno = saved;
    return ran;
}

bool signal_take(struct green *g, uint64_t set, siginfo_t *info)
{
    uint64_t ready = atomic_load(&g->pending) & set;
    if (!ready)
        return false;
    record_take(g, __builtin_ctzll(ready) + 1, info);
    return true;
}

/* ---- Pending for the process: came on a hub's stack ---- */

static struct signal_record *_Atomic process_arrived;

struct choice {
    int sig;
    struct green *chosen;
};

static void choose(struct green *g, void *data)
{
    struct choice *c = data;
    if (!(g->mask & signal_bit(c->sig)) && !g->foreign && (!c->chosen || g->id < c->chosen->id))
        c->chosen = g;
}

static int record_send(struct green *g, int sig, const siginfo_t *info)
{
    struct signal_record *r = record_new();
    if (!r && sig >= SIGRTMIN)
        return EAGAIN;
    if (r) {
        r->sig = sig;
        r->info = *info;
        record_push(&g->arrived, r);
    }
    atomic_fetch_or(&g->pending, signal_bit(sig));
    return 0;
}

/* On the hub's context: hand out what came while it polled. What every green thread has blocked
 * since the hub began to poll goes back to the kernel, where sigpending() and sigwait() find it. */
static void process_deliver(void)
{
    struct signal_record *r = atomic_exchange(&process_arrived, NULL);
    while (r) {
        struct signal_record *next = r->next;
        struct choice c = {.sig = r->sig};
        green_each(choose, &c);
        if (c.chosen) {
            record_send(c.chosen, r->sig, &r->info);
            green_interrupt(c.chosen, INTERRUPT_SIGNAL);
        } else {
            hub_mask_refresh();
            sys_3(SYS_rt_sigqueueinfo, sys_0(SYS_getpid), r->sig, &r->info);
        }
        record_free(r);
        r = next;
    }
}

/* A thread ended with signals that it had taken for the process; what was for it alone is gone. */
static void process_inherit(struct green *g)
{
    records_settle(g);
    while (g->queued) {
        struct signal_record *r = g->queued;
        g->queued = r->next;
        if (r->info.si_code == SI_TKILL)
            record_free(r);
        else
            record_push(&process_arrived, r);
    }
    atomic_store(&g->pending, 0);
    hub_signal();
}

/* A green thread that has just unblocked signals takes what nobody could. */
static void pending_process_take(struct green *g)
{
    if (__builtin_expect(!atomic_load_explicit(&process_arrived, memory_order_relaxed), 1))
        return;
    struct signal_record *r = atomic_exchange(&process_arrived, NULL);
    while (r) {
        struct signal_record *next = r->next;
        if (g->mask & signal_bit(r->sig)) {
            record_push(&process_arrived, r);
        } else {
            record_send(g, r->sig, &r->info);
            record_free(r);
        }
        r = next;
    }
}

/* ---- The trampoline ---- */

/* Sent by signal_kick() as si_value: look at what is pending. */
static char kick_mark;

static bool is_kick(const siginfo_t *info)
{
    return info->si_code == SI_QUEUE && info->si_value.sival_ptr == &kick_mark;
}

static bool is_fault(int sig, const siginfo_t *info)
{
    return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE ||
                                 sig == SIGILL || sig == SIGTRAP || sig == SIGSYS);
}

static void trampoline(int sig, siginfo_t *info, void *context)
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
    struct green *target = timer_target(info);
    if (target && target != g) {
        int before = atomic_exchange(&green_tls.in, 1);
        record_send(target, sig, info);
        green_interrupt(target, INTERRUPT_SIGNAL);
        atomic_store(&green_tls.in, before);
    } else if (own == OWN_HUB) {
        struct signal_record *r = record_new();
        if (r) {
            r->sig = sig;
            r->info = *info;
            record_push(&process_arrived, r);
        }
        hub_signal();
    } else if (g && atomic_load_explicit(&green_tls.in, memory_order_relaxed)) {
        if (!is_kick(info))
            record_send(g, sig, info);
        green_interrupt(g, INTERRUPT_SIGNAL);
    } else if (!g) {
        handler_call(NULL, sig, info, context, &act);
    } else if (is_kick(info)) {
        /* The kernel's mask now has sig blocked in addition; pending handlers run under g's. */
        uint64_t interrupted = signal_mask_of(&((ucontext_t *)context)->uc_sigmask);
        green_set_mask(g, interrupted);
        signal_run_pending(g);
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
    int error = record_send(g, sig, info);
    if (error)
        return error;
    if (g == self_green()) {
        if (!atomic_load(&green_tls.in))
            signal_run_pending(g);
        return 0;
    }
    green_interrupt(g, INTERRUPT_SIGNAL);
    siginfo_t kick = {.si_signo = sig, .si_code = SI_QUEUE};
    kick.si_pid = (pid_t)sys_0(SYS_getpid);
    kick.si_value.sival_ptr = &kick_mark;
    if (!blocked && is_handler(&now))
        green_kick(g, sig, &kick);
    return 0;
}

/* ---- sigaction and its kin ---- */

static int action_change(int sig, const struct sigaction *act, struct sigaction *old)
{
    struct sigaction kernel, before = {0};
    bool ours = sig > 0 && sig < _NSIG;
    lock_acquire(&action_lock);
    if (ours)
        before = action_table[sig].action;
    if (act)
        kernel = *act;
    if (act && ours && is_handler(act)) {
        kernel.sa_sigaction = trampoline;
        kernel.sa_flags |= SA_SIGINFO;
        if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33)
            action_store(sig, act);
    }
    struct sigaction was;
    int result = real.sigaction(sig, act ? &kernel : NULL, &was);
    lock_release(&action_lock);
    if (result == 0 && old) {
        *old = was;
        if (was.sa_sigaction == trampoline && (was.sa_flags & SA_SIGINFO)) {
            old->sa_flags = (was.sa_flags & ~SA_SIGINFO) | (before.sa_flags & SA_SIGINFO);
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
        !is_handler(act))
        return real.sigaction(sig, act, old);
    uint64_t all = ~UINT64_C(0) & ~(UINT64_C(3) << 31), before;
    sys_4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof all);
    int result = action_change(sig, act, old);
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
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

void signal_start(void)
{
    hub_signal_hook = process_deliver;
    hub_orphans_hook = process_inherit;
}

void signal_fork(void)
{
    lock_init(&action_lock);
    atomic_store(&process_arrived, NULL);
    struct green *g = self_green();
    if (g) {
        atomic_store(&g->pending, 0);
        atomic_store(&g->arrived, NULL);
        g->queued = NULL;
    }
    for (int i = 0; i < RECORDS / 64; i++)
        atomic_store(&records_used[i], 0);
}
