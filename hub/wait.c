/* Waiting on an address: queues hashed by (kind, address), first in, first out. Who waits again on an
 * address after its time was up keeps the place of its first wait: waiters that all time out between
 * two wakes, and wait again in the same order, would else wake the same ones for ever (CPython asks
 * for its interpreter lock that way).
 *
 * A bucket holds one list of distinct keys; each key's first waiter stands in that list and heads a
 * ring of the others. A waiter lives on the stack of who waits. It is taken off by a waker or by
 * itself, always under the bucket's lock; `queued` turns false under the lock and never true again.
 * While a handler runs its thread is on no queue; see WAIT_HEEDS.
 * A waker's unpark may come after its waiter has gone on for another reason: struct green is never
 * unmapped (trim.c says what may become of it), and every park loop asks again, so that costs one turn
 * and nothing else.
 */
#include "internal.h"

struct waiter {
    struct green *green;
    const void *key;
    struct waiter *next, *prev;  /* ring of one key, bucket lock */
    struct waiter *keys;         /* next key of the bucket; first waiters only; bucket lock */
    int64_t since; /* first wait on this address without a wake, ns */
    uint32_t bits;
    uint8_t kind;
    bool starved;
    bool again; /* `since` is that of an earlier wait */
    _Atomic bool queued;
    _Atomic(struct bucket *) bucket; /* changes in wait_requeue(), under both locks */
};

struct bucket {
    struct lock lock;
    _Atomic uint32_t count; /* waiters, and those that are away; changed under the lock, read without */
    uint32_t away;          /* off their queue while a handler runs, with WAIT_HEEDS; lock */
    uint32_t missed;        /* wakes that found too few while some were away; lock */
    struct waiter *keys;    /* lock */
};

enum { BUCKET_BITS = 14 };
static struct bucket wait_buckets[1 << BUCKET_BITS];

static inline struct bucket *bucket_of(enum wait_kind kind, const void *key)
{
    uint64_t x = ((uint64_t)(uintptr_t)key >> 2) + kind;
    return &wait_buckets[(x * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - BUCKET_BITS)];
}

/* ---- Under the bucket's lock ---- */

static struct waiter *bucket_find(struct bucket *b, enum wait_kind kind, const void *key)
{
    for (struct waiter *w = b->keys; w; w = w->keys)
        if (w->key == key && w->kind == kind)
            return w;
    return NULL;
}

static void bucket_append(struct bucket *b, struct waiter *w)
{
    struct waiter **slot = &b->keys;
    while (*slot && ((*slot)->key != w->key || (*slot)->kind != w->kind))
        slot = &(*slot)->keys;
    struct waiter *first = *slot;
    if (first) {
        struct waiter *after = first->prev;
        while (w->again && after->since > w->since && after != first)
            after = after->prev;
        if (w->again && after->since > w->since) { /* before the first: heads the ring */
            after = first->prev;
            w->keys = first->keys;
            *slot = w;
        }
        w->prev = after;
        w->next = after->next;
        after->next->prev = w;
        after->next = w;
    } else {
        w->next = w->prev = w;
        w->keys = NULL;
        *slot = w;
    }
    atomic_store_explicit(&w->bucket, b, memory_order_relaxed);
}

static void bucket_remove(struct bucket *b, struct waiter *w)
{
    struct waiter **slot = &b->keys;
    while (*slot && *slot != w)
        slot = &(*slot)->keys;
    if (*slot) {
        if (w->next != w) {
            w->next->keys = w->keys;
            *slot = w->next;
        } else {
            *slot = w->keys;
        }
    }
    w->next->prev = w->prev;
    w->prev->next = w->next;
    atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
}

/* The waiter after w on its ring, or NULL when the ring ends; w is about to be removed. */
static struct waiter *ring_after(struct waiter *first, struct waiter *w)
{
    return w->next == first || w->next == w ? NULL : w->next;
}

static size_t bucket_wake(struct bucket *b, enum wait_kind kind, const void *key, size_t max,
                          uint32_t bits)
{
    size_t woken = 0;
    struct waiter *w = bucket_find(b, kind, key);
    while (w && woken < max) {
        struct waiter *first = bucket_find(b, kind, key);
        struct waiter *next = ring_after(first, w);
        if (w->bits & bits) {
            struct green *g = w->green;
            bucket_remove(b, w);
            atomic_store_explicit(&w->queued, false, memory_order_release);
            unpark(g);
            woken++;
        }
        w = next;
    }
    if (__builtin_expect(b->away && woken < max, 0))
        b->missed++;
    return woken;
}

/* ---- Waiting ---- */

static bool waiter_woken(void *arg)
{
    struct waiter *w = arg;
    return !atomic_load_explicit(&w->queued, memory_order_acquire);
}

/* Take w off its queue; false when a waker had done so, that is: a wake was consumed. */
static bool waiter_leave(struct waiter *w)
{
    for (;;) {
        struct bucket *b = atomic_load_explicit(&w->bucket, memory_order_relaxed);
        lock_acquire(&b->lock);
        if (b != atomic_load_explicit(&w->bucket, memory_order_relaxed)) {
            lock_release(&b->lock);
            continue;
        }
        bool was = atomic_load_explicit(&w->queued, memory_order_relaxed);
        if (was) {
            bucket_remove(b, w);
            atomic_store_explicit(&w->queued, false, memory_order_relaxed);
        }
        lock_release(&b->lock);
        return was;
    }
}

/* Who is away stays counted, so that wakes look; a handler that jumps off costs them that look for ever,
 * and nothing else. `missed`: as it was. */
static void bucket_go(struct bucket *b, uint32_t *missed)
{
    lock_acquire(&b->lock);
    atomic_fetch_add_explicit(&b->count, 1, memory_order_relaxed);
    b->away++;
    *missed = b->missed;
    lock_release(&b->lock);
}

/* Under the lock. Was nothing missed? */
static bool bucket_return(struct bucket *b, uint32_t missed)
{
    if (b->away) { /* else the handler forked, and this is the child */
        atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
        b->away--;
    }
    return b->missed == missed;
}

/* What a waiter gives up once it is on its queue; see wait_release(). */
struct giving {
    int (*release)(void *arg);
    void *arg;
};

static enum wait_result wait_queued(enum wait_kind kind, const void *key, uint32_t bits,
                                    wait_ready *ready, void *arg, struct giving giving,
                                    int64_t deadline, int flags)
{
    struct green *g = enter();
    struct bucket *b = bucket_of(kind, key);
    enum wait_result result = WAIT_WOKEN;
    bool again = g->again_key == key;
    int64_t since = again ? g->again_since : g->foreign ? clock_now() : g->hub->now;
    bool away = false;
    uint32_t missed = 0;
    if (again)
        g->again_key = NULL;
    for (;;) {
        struct waiter w = {.green = g, .key = key, .bits = bits, .kind = (uint8_t)kind,
                           .starved = flags & WAIT_STARVED, .queued = true, .since = since,
                           .again = again};
        lock_acquire(&b->lock);
        if (__builtin_expect(away, 0)) {
            away = false;
            if (!bucket_return(b, missed)) {
                lock_release(&b->lock);
                result = WAIT_INTERRUPTED;
                break;
            }
        }
        atomic_fetch_add(&b->count, 1); /* before ready(): pairs with the load in wake() */
        if (ready && ready(arg)) {
            atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
            lock_release(&b->lock);
            result = WAIT_NOT_NEEDED;
            break;
        }
        bucket_append(b, &w);
        lock_release(&b->lock);
        if (giving.release) {
            if (giving.release(giving.arg)) {
                if (!waiter_leave(&w))
                    wake(kind, key, 1, WAIT_ANY_BITS);
                result = WAIT_NOT_NEEDED;
                break;
            }
            giving.release = NULL;
        }
        g->waits_for = kind;
        g->wait_object = key;
        enum park_result r = park_until(g, waiter_woken, &w, deadline);
        if (r == PARK_DONE)
            break;
        if (r == PARK_INTERRUPTED && flags & WAIT_HEEDS) {
            bucket_go(b, &missed);
            away = again = true;
        }
        if (!waiter_leave(&w)) {
            /* Woken and interrupted at once: the wake counts, handlers run before we return. */
            if (r == PARK_INTERRUPTED)
                park_interrupted(g, 0, &result);
            break;
        }
        if (r == PARK_TIMED_OUT) {
            result = WAIT_TIMED_OUT;
            g->again_key = key;
            g->again_since = since;
            break;
        }
        if (park_interrupted(g, flags, &result))
            break;
    }
    if (__builtin_expect(away, 0)) {
        lock_acquire(&b->lock);
        bucket_return(b, missed);
        lock_release(&b->lock);
    }
    leave();
    return result;
}

enum wait_result wait_on(enum wait_kind kind, const void *key, uint32_t bits, wait_ready *ready,
                         void *arg, int64_t deadline, int flags)
{
    return wait_queued(kind, key, bits, ready, arg, (struct giving){0}, deadline, flags);
}

enum wait_result wait_release(enum wait_kind kind, const void *key, int (*release)(void *arg),
                              void *arg, int64_t deadline, int flags)
{
    return wait_queued(kind, key, WAIT_ANY_BITS, NULL, NULL, (struct giving){release, arg},
                       deadline, flags);
}

/* ---- Waking ---- */

/* Apart from their callers, so that those save no registers where nobody waits. */
static __attribute__((noinline)) size_t wake_found(struct bucket *b, enum wait_kind kind,
                                                   const void *key, size_t max, uint32_t bits)
{
    int before = atomic_load_explicit(&green_tls.in, memory_order_relaxed);
    if (!before)
        enter();
    lock_acquire(&b->lock);
    size_t woken = bucket_wake(b, kind, key, max, bits);
    lock_release(&b->lock);
    if (!before)
        leave();
    return woken;
}

size_t wake(enum wait_kind kind, const void *key, size_t max, uint32_t bits)
{
    struct bucket *b = bucket_of(kind, key);
    if (__builtin_expect(!atomic_load_explicit(&b->count, memory_order_relaxed), 1))
        return 0;
    return wake_found(b, kind, key, max, bits);
}

static __attribute__((noinline)) void wake_lock_found(struct bucket *b, enum wait_kind kind,
                                                      const void *key)
{
    struct green *g = enter();
    lock_acquire(&b->lock);
    struct waiter *w = bucket_find(b, kind, key);
    bool starved = false;
    if (w) {
        struct green *woken = w->green;
        starved = w->starved;
        bucket_remove(b, w);
        atomic_store_explicit(&w->queued, false, memory_order_release);
        if (starved)
            unpark_first(woken);
        else
            unpark(woken);
    }
    lock_release(&b->lock);
    if (starved && !g->foreign && g->hub->run_head) {
        atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
        sched_switch(g, AFTER_YIELD);
    }
    leave();
}

void wake_lock(enum wait_kind kind, const void *key)
{
    struct bucket *b = bucket_of(kind, key);
    if (__builtin_expect(atomic_load_explicit(&b->count, memory_order_relaxed) != 0, 0))
        wake_lock_found(b, kind, key);
}

long wait_requeue(enum wait_kind kind, const void *from, size_t wake_max, const void *to,
                  size_t move_max, wait_ready *ready, void *arg, size_t *moved)
{
    struct bucket *a = bucket_of(kind, from);
    struct bucket *b = bucket_of(kind, to);
    struct bucket *low = a < b ? a : b;
    struct bucket *high = a < b ? b : a;
    enter();
    lock_acquire(&low->lock);
    if (high != low)
        lock_acquire(&high->lock);
    long woken = -1;
    size_t n = 0;
    if (!ready || ready(arg)) {
        woken = (long)bucket_wake(a, kind, from, wake_max, WAIT_ANY_BITS);
        while (n < move_max && from != to) {
            struct waiter *w = bucket_find(a, kind, from);
            if (!w)
                break;
            bucket_remove(a, w);
            w->key = to;
            w->again = false; /* behind those who wait there */
            atomic_fetch_add_explicit(&b->count, 1, memory_order_relaxed);
            bucket_append(b, w);
            n++;
        }
    }
    if (high != low)
        lock_release(&high->lock);
    lock_release(&low->lock);
    leave();
    if (moved)
        *moved = n;
    return woken;
}

/* In a forked child: who waited is gone. */
void wait_fork(void)
{
    for (size_t i = 0; i < sizeof wait_buckets / sizeof wait_buckets[0]; i++) {
        struct bucket *b = &wait_buckets[i];
        if (atomic_load_explicit(&b->count, memory_order_relaxed) ||
            atomic_load_explicit(&b->lock.word, memory_order_relaxed)) {
            lock_init(&b->lock);
            b->keys = NULL;
            b->away = 0;
            atomic_store_explicit(&b->count, 0, memory_order_relaxed);
        }
    }
}
