/* Signal masks of green threads and the mask under which a hub waits.
 *
 * The kernel's mask of an OS thread is that of the green thread it runs (sched_resume()). While a
 * hub polls it is what every green thread blocks, so that a signal which any of them takes arrives.
 * Programs use few different masks: a small table counts the green threads of each.
 */
#include <signal.h>
#include <time.h>

#include <ev.h>

#include "internal.h"

enum { MASKS = 64 };

/* Guarded by mask_lock; mask_common is read without. */
static struct lock mask_lock;
static struct {
    uint64_t mask;
    size_t users;
} mask_table[MASKS];
static size_t mask_uncounted; /* users that found the table full: nothing is blocked for sure */
static uint64_t mask_common;

uint64_t hub_mask_all = ~((UINT64_C(1) << 31) | (UINT64_C(1) << 32)); /* written at start only */

void hub_leave_open(int sig)
{
    hub_mask_all &= ~(UINT64_C(1) << (sig - 1));
}

static void mask_changed(void)
{
    uint64_t common = mask_uncounted ? 0 : ~(uint64_t)0;
    for (int i = 0; i < MASKS; i++)
        if (mask_table[i].users)
            common &= mask_table[i].mask;
    __atomic_store_n(&mask_common, common, __ATOMIC_SEQ_CST);
}

void deliver_mask_added(uint64_t mask)
{
    lock_acquire(&mask_lock);
    int slot = -1;
    for (int i = 0; i < MASKS; i++) {
        if (mask_table[i].users && mask_table[i].mask == mask) {
            mask_table[i].users++;
            lock_release(&mask_lock);
            return;
        }
        if (!mask_table[i].users && slot < 0)
            slot = i;
    }
    if (slot >= 0) {
        mask_table[slot].mask = mask;
        mask_table[slot].users = 1;
    } else {
        mask_uncounted++;
    }
    mask_changed();
    lock_release(&mask_lock);
}

void deliver_mask_removed(uint64_t mask)
{
    lock_acquire(&mask_lock);
    int i = 0;
    while (i < MASKS && !(mask_table[i].users && mask_table[i].mask == mask))
        i++;
    if (i == MASKS) {
        mask_uncounted--;
        mask_changed();
    } else if (--mask_table[i].users == 0) {
        mask_changed();
    }
    lock_release(&mask_lock);
}

/* The signals that each hub lets in while it polls, or did when it polled last; written by the hub's
 * holder. */
static struct {
    _Alignas(64) _Atomic uint64_t lets_in;
} polling[HUBS_MAX];

void deliver_idle_begin(struct hub *h)
{
    _Atomic uint64_t *lets_in = &polling[h->index].lets_in;
    for (;;) {
        uint64_t common = __atomic_load_n(&mask_common, __ATOMIC_SEQ_CST);
        if (__builtin_expect(h->carrier->mask != common, 0))
            carrier_set_mask(h->carrier, common);
        if (atomic_load_explicit(lets_in, memory_order_relaxed) == ~common)
            break;
        atomic_store(lets_in, ~common); /* and look again: see green_mask_settle() */
    }
    if (__builtin_expect(h->carrier->alt_stack != NULL, 0))
        deliver_alt_stack(h->carrier, NULL);
}

void hub_mask_refresh(void)
{
    if (green_tls.hub)
        deliver_idle_begin(green_tls.hub);
}

void green_mask_is(struct green *g, uint64_t mask)
{
    mask &= MASK_ALL;
    if (mask == g->mask)
        return;
    int before = atomic_exchange(&green_tls.in, 1); /* a handler would come back for the same lock */
    deliver_mask_added(mask);
    deliver_mask_removed(g->mask);
    g->mask = mask;
    if (g->carrier)
        g->carrier->mask = mask;
    if (!before)
        leave();
}

void green_set_mask(struct green *g, uint64_t mask)
{
    green_mask_is(g, mask);
    mask &= MASK_ALL;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

/* A hub that polls with an older mask would take what is to stay pending in the kernel, where
 * sigpending() sees it and a timer counts its overruns. Who blocks stores mask_common and then looks at
 * lets_in, who polls the other way round: one of the two sees the other. */
void green_mask_settle(void)
{
    enum { TRIES = 20000, TRY_NS = 50000 };
    unsigned n = atomic_load_explicit(&hub_count, memory_order_acquire);
    for (unsigned i = 0; n > 1 && i < n; i++) {
        struct hub *h = hub_all[i];
        for (int tries = 0; tries < TRIES && !atomic_load(&h->current) &&
                            atomic_load(&polling[i].lets_in) &
                                __atomic_load_n(&mask_common, __ATOMIC_SEQ_CST);
             tries++) {
            struct timespec ts = {0, TRY_NS};
            hub_wake(h);
            sys_2(SYS_nanosleep, &ts, NULL);
        }
    }
}

/* ---- Alternate stacks ----
 *
 * The kernel's is set to the running green thread's at each resume where it differs. SS_AUTODISARM
 * has the kernel take it away while a handler runs on it, so that it can be changed when that
 * handler parks (elsewise EPERM), and give it back when the handler returns. */

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

void deliver_alt_stack(struct carrier *c, const struct green *g)
{
    stack_t s = {.ss_flags = SS_DISABLE};
    if (g && g->alt_stack)
        s = (stack_t){.ss_sp = g->alt_stack, .ss_size = g->alt_size,
                      .ss_flags = (int)SS_AUTODISARM};
    c->alt_stack = s.ss_sp;
    sys_2(SYS_sigaltstack, &s, NULL);
}

/* The main thread may have set one before the first green thread. */
void deliver_alt_start(struct green *main_green)
{
    stack_t s;
    if (sys_2(SYS_sigaltstack, NULL, &s) || s.ss_flags & (SS_DISABLE | SS_ONSTACK))
        return;
    main_green->alt_stack = s.ss_sp;
    main_green->alt_size = s.ss_size;
    main_green->alt_flags = s.ss_flags;
    deliver_alt_stack(main_green->carrier, main_green);
}

void green_alt_stack_used(struct green *g, bool used)
{
    if (used) {
        g->alt_in_use = g->alt_stack;
        g->alt_stack = g->carrier->alt_stack = NULL;
    } else {
        g->alt_stack = g->carrier->alt_stack = g->alt_in_use;
        g->alt_in_use = NULL;
    }
}

void green_alt_stack_changed(struct green *g)
{
    deliver_alt_stack(g->carrier, g);
}

/* ---- Signals on a hub's own stack ---- */

void (*hub_signal_hook)(void);
void (*hub_orphans_hook)(struct green *g);
_Atomic bool deliver_signals_came;

/* What its mask lets in comes here and now, on the context that is left, which may block it: so that
 * who follows looks before it runs, and not only a hub that polls, when it may have ended. */
void deliver_mask(struct carrier *c, struct green *next)
{
    carrier_set_mask(c, next->mask);
    if (atomic_load_explicit(&deliver_signals_came, memory_order_relaxed))
        atomic_store_explicit(&next->tls->deferred, 1, memory_order_relaxed);
}

void hub_signal(void)
{
    atomic_store(&deliver_signals_came, true);
    struct hub *h = green_tls.hub ? green_tls.hub : hub_all[0];
    if (!h)
        return;
    ev_async_send(h->loop, h->async);
    if (atomic_load(&h->listening) & (LISTEN_MONITOR | LISTEN_WORK))
        monitor_poke();
}

void deliver_hub_signals(struct hub *h)
{
    (void)h;
    if (__builtin_expect(atomic_load_explicit(&deliver_signals_came, memory_order_relaxed), 0) &&
        atomic_exchange(&deliver_signals_came, false) && hub_signal_hook)
        hub_signal_hook();
}

void deliver_fork(uint64_t mask)
{
    lock_init(&mask_lock);
    for (int i = 0; i < MASKS; i++)
        mask_table[i].users = 0;
    mask_uncounted = 0;
    deliver_mask_added(mask);
}
