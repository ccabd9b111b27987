/* Who runs next: the run queue of a hub, park and unpark, yielding.
 *
 * A green thread that stops switches straight to the next runnable one; only when there is none, or
 * after SWITCH_BUDGET such switches, to the hub, which polls. The context that was left is dealt
 * with by the one that runs next (sched_finish), because only then is its stack out of use.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "../coro/libc.h"
#include "internal.h"
#include "tick.h"

/* ---- The run queue: holder only ---- */

void sched_push(struct hub *h, struct green *g)
{
    g->next = NULL;
    if (h->run_tail)
        h->run_tail->next = g;
    else
        h->run_head = g;
    h->run_tail = g;
    h->run_length++;
}

static void sched_push_first(struct hub *h, struct green *g)
{
    g->next = h->run_head;
    h->run_head = g;
    if (!h->run_tail)
        h->run_tail = g;
    h->run_length++;
}

struct green *sched_pop(struct hub *h)
{
    struct green *g = h->run_head;
    if (g) {
        h->run_head = g->next;
        if (!h->run_head)
            h->run_tail = NULL;
        else
            sched_prefetch(h->run_head);
        h->run_length--;
    }
    return g;
}

/* ---- The remote queue: pushed by anybody, drained by the holder ---- */

void sched_push_remote(struct hub *h, struct green *g)
{
    struct green *head = atomic_load_explicit(&h->remote, memory_order_relaxed);
    do
        g->next = head;
    while (!atomic_compare_exchange_weak_explicit(&h->remote, &head, g, memory_order_seq_cst,
                                                  memory_order_relaxed));
    hub_wake(h);
}

void sched_drain_remote(struct hub *h)
{
    if (!atomic_load_explicit(&h->remote, memory_order_relaxed))
        return;
    struct green *g = atomic_exchange_explicit(&h->remote, NULL, memory_order_acquire);
    struct green *in_order = NULL;
    while (g) {
        struct green *next = g->next;
        g->next = in_order;
        in_order = g;
        g = next;
    }
    while (in_order) {
        g = in_order;
        in_order = g->next;
        sched_push(h, g);
    }
}

/* ---- Switching ---- */

bool sched_finish(struct hub *h)
{
    struct green *g = h->left;
    bool fenced = false;
    switch (h->after) {
    case AFTER_NOTHING:
        return false;
    case AFTER_PARK: {
        int running = GREEN_RUNNING;
        if (!atomic_compare_exchange_strong(&g->state, &running, GREEN_PARKED)) {
            atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
            sched_push(h, g);
        }
        fenced = true;
        break;
    }
    case AFTER_YIELD:
        sched_push(h, g);
        break;
    case AFTER_EXIT:
        if (__builtin_expect(atomic_load(&g->pending) || g->resent, 0) && hub_orphans_hook)
            hub_orphans_hook(g);
        atomic_store_explicit(&g->state, GREEN_DEAD, memory_order_release);
        if (!h->release || h->release(g))
            coro_delete(&g->coro);
        break;
    }
    h->after = AFTER_NOTHING;
    return fenced;
}

/* The monitor waits because the hub's thread had nothing else to do: has that changed? Where it waits
 * for work only, the thread's own sleeps and wakes, which the hub's context sees to, are none. Orders
 * with monitor_watch() through its membarrier. */
static __attribute__((noinline, cold)) void monitor_heed_slow(struct hub *h, int listening)
{
    bool work = (h->run_head && atomic_load_explicit(&h->current, memory_order_relaxed)) ||
                atomic_load_explicit(&deliver_signals_came, memory_order_relaxed);
    if (!work && !(listening & LISTEN_MONITOR))
        return;
    atomic_fetch_and(&h->listening, ~(LISTEN_MONITOR | LISTEN_WORK));
    monitor_poke();
}

static inline void monitor_heed(struct hub *h)
{
    int listening = atomic_load_explicit(&h->listening, memory_order_relaxed);
    if (__builtin_expect(listening & (LISTEN_MONITOR | LISTEN_WORK), 0))
        monitor_heed_slow(h, listening);
}

void sched_heed(struct hub *h)
{
    monitor_heed(h);
}

/* The context that was left is still to be finished when another green thread follows at once. */
void sched_watched(struct hub *h, struct green *next)
{
    void (*watch)(unsigned, struct green *, bool, struct green *) = sched_watch;
    if (watch)
        watch(h->index, h->after == AFTER_NOTHING ? NULL : h->left, h->after == AFTER_EXIT, next);
}

void sched_resume(struct hub *h, struct coro *from, struct green *next)
{
    struct carrier *c = h->carrier;
    next->carrier = c;
    next->switches++;
    atomic_store_explicit(&next->state, GREEN_RUNNING, memory_order_relaxed);
    if (__builtin_expect(
            atomic_load_explicit(&next->tls->own, memory_order_relaxed) != OWN_ATTACHED, 0))
        atomic_store_explicit(&next->tls->own, OWN_ATTACHED, memory_order_relaxed);
    atomic_store_explicit(&h->current, next, memory_order_relaxed);
    atomic_store_explicit(&h->switches,
                          atomic_load_explicit(&h->switches, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    monitor_heed(h);
    PROBE1(switch, next->id);
    if (__builtin_expect(sched_watch != NULL, 0))
        sched_watched(next->hub, next); /* h; which then need not be kept until here */
    if (__builtin_expect(next->mask != c->mask, 0))
        deliver_mask(c, next);
    if (__builtin_expect(next->alt_stack != c->alt_stack, 0))
        deliver_alt_stack(c, next);
    coro_switch(from, &next->coro);
}

bool sched_switch(struct green *self, enum after after)
{
    struct hub *h = self->hub;
    h->left = self;
    h->after = after;
    struct green *next = --h->budget > 0 ? sched_pop(h) : NULL;
    if (next) {
        sched_resume(h, &self->coro, next);
    } else {
        atomic_store_explicit(&h->current, NULL, memory_order_relaxed);
        coro_switch(&self->coro, h->coro);
    }
    return sched_finish(self->hub);
}

/* ---- Park and unpark ---- */

static void foreign_unpark(struct green *g)
{
    sys_6(SYS_futex, &g->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void unpark_now(struct green *g, bool first)
{
    int s = atomic_load_explicit(&g->state, memory_order_relaxed);
    for (;;) {
        if (s == GREEN_PARKED) {
            int to = g->foreign ? GREEN_NOTIFIED : GREEN_RUNNABLE;
            PROBE1(unpark, g->id);
            if (!atomic_compare_exchange_weak(&g->state, &s, to))
                continue;
            if (g->foreign) {
                foreign_unpark(g);
                return;
            }
            struct hub *h = g->hub;
            if (hub_held() != h)
                sched_push_remote(h, g);
            else if (first)
                sched_push_first(h, g);
            else
                sched_push(h, g);
            monitor_heed(h);
            return;
        }
        if (s != GREEN_RUNNING) {
            /* It is yet to look, unless it looked before this thread's store could be seen, and its
             * own of the state could be: see park_until(). */
            atomic_thread_fence(memory_order_seq_cst);
            int now = atomic_load_explicit(&g->state, memory_order_relaxed);
            if (now == s)
                return;
            s = now;
            continue;
        }
        if (atomic_compare_exchange_weak(&g->state, &s, GREEN_NOTIFIED))
            return;
    }
}

/* Apart, so that unpark_to() saves no register for it. */
static __attribute__((noinline, cold)) void unpark_watched(struct green *g, bool first)
{
    if (atomic_load_explicit(&g->state, memory_order_relaxed) == GREEN_PARKED)
        g->woken_at = tick_now();
    unpark_now(g, first);
}

static void unpark_to(struct green *g, bool first)
{
    if (__builtin_expect(sched_watch != NULL, 0))
        unpark_watched(g, first);
    else
        unpark_now(g, first);
}

void unpark(struct green *g)
{
    unpark_to(g, false);
}

void unpark_first(struct green *g)
{
    unpark_to(g, true);
}

/* One stop of a foreign thread on its futex; returns on any wake, signal or the deadline. */
static void foreign_park(struct green *g, int64_t deadline)
{
    int running = GREEN_RUNNING;
    if (atomic_compare_exchange_strong(&g->state, &running, GREEN_PARKED)) {
        struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
        long r = sys_6(SYS_futex, &g->state, FUTEX_WAIT_BITSET_PRIVATE, GREEN_PARKED,
                       deadline == DEADLINE_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
        if (r == -ETIMEDOUT)
            g->timed_out = true;
    }
    atomic_store(&g->state, GREEN_RUNNING);
}

enum park_result park_until(struct green *g, bool (*done)(void *), void *arg, int64_t deadline)
{
    enum park_result result;
    g->timed_out = false;
    g->futile = 0;
    if (!g->foreign)
        g->wait_since = g->hub->now;
    for (;;) {
        if (done(arg)) {
            result = PARK_DONE;
            break;
        }
        if (__builtin_expect(atomic_load_explicit(&g->interrupts, memory_order_acquire), 0)) {
            result = PARK_INTERRUPTED;
            break;
        }
        if (g->timed_out) {
            result = PARK_TIMED_OUT;
            break;
        }
        if (__builtin_expect(g->foreign, 0)) {
            foreign_park(g, deadline);
            if (atomic_load_explicit(&green_tls.deferred, memory_order_relaxed)) {
                leave();
                enter();
            }
            continue;
        }
        int notified = GREEN_NOTIFIED;
        if (atomic_load_explicit(&g->state, memory_order_relaxed) == GREEN_NOTIFIED &&
            atomic_compare_exchange_strong(&g->state, &notified, GREEN_RUNNING))
            continue;
        /* At each turn: a hub that gives the thread to another one takes its timer off. */
        if (deadline != DEADLINE_NEVER && !g->timer_slot)
            timer_add(g->hub, g, deadline);
        g->hub->parks++;
        PROBE3(park, g->id, g->waits_for, g->wait_object);
        /* Who runs on another OS thread stores what done() sees, then reads that g is runnable, and leaves
         * it at that. So that g runs has to be seen before done() looks. */
        if (!sched_switch(g, AFTER_PARK))
            atomic_thread_fence(memory_order_seq_cst);
    }
    if (g->timer_slot)
        timer_remove(g->hub, g);
    g->waits_for = WAIT_NOTHING;
    return result;
}

int (*hub_interrupt_hook)(struct green *g, uint32_t why);

bool park_interrupted(struct green *g, int flags, enum wait_result *result)
{
    uint32_t why = atomic_exchange(&g->interrupts, 0);
    atomic_store(&g->tls->deferred, 0); /* the hook is called here, and looks at everything */
    leave();
    int ran = why && hub_interrupt_hook ? hub_interrupt_hook(g, why) : 0;
    enter();
    if ((flags & WAIT_BY_CANCEL) && libc_cancel_pending(g->coro.tp)) {
        *result = WAIT_CANCELLED;
        return true;
    }
    if ((ran & HANDLERS_RAN) && (flags & WAIT_BY_SIGNAL)) {
        *result = ran & HANDLERS_ALL_RESTART ? WAIT_RESTARTED : WAIT_INTERRUPTED;
        return true;
    }
    return false;
}

void green_interrupt(struct green *g, uint32_t why)
{
    int before = atomic_exchange(&green_tls.in, 1);
    atomic_fetch_or(&g->interrupts, why);
    struct green_tls *tls = __atomic_load_n(&g->tls, __ATOMIC_RELAXED); /* NULL: it has ended, see trim.c */
    if (tls)
        atomic_store(&tls->deferred, 1);
    unpark(g);
    if (!before)
        leave();
}

/* ---- Yielding ---- */

void green_yield(void)
{
    struct green *g = enter();
    if (!g->foreign) {
        struct hub *h = g->hub;
        if (h->run_head || h->budget <= 1 ||
            atomic_load_explicit(&h->remote, memory_order_relaxed)) {
            atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
            sched_switch(g, AFTER_YIELD);
        } else {
            h->budget--;
        }
    }
    leave();
}

void green_futile(void)
{
    enum { FUTILE_MAX = 16 };
    struct green *g = self_attach();
    if (!g || ++g->futile < FUTILE_MAX)
        return;
    g->futile = 0;
    enter();
    if (!g->foreign) {
        g->hub->budget = 0;
        atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
        sched_switch(g, AFTER_YIELD);
    }
    leave();
}

static bool sleep_done(void *unused)
{
    (void)unused;
    return false;
}

enum wait_result sleep_until(int64_t deadline, int flags)
{
    struct green *g = enter();
    enum wait_result result = WAIT_TIMED_OUT;
    for (;;) {
        g->waits_for = WAIT_SLEEP;
        enum park_result r = park_until(g, sleep_done, NULL, deadline);
        if (r == PARK_TIMED_OUT || park_interrupted(g, flags, &result))
            break;
    }
    leave();
    return result;
}
