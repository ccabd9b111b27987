/* Deadlines of parked green threads: a 4-ary heap per hub, exact to the nanosecond.
 *
 * libev's own timers count in double seconds and are rounded up to milliseconds by epoll_wait();
 * here the hub's wait ends at timers[0] exactly (loop.c). Everything is owned by the hub's holder.
 */
#include "alloc.h"
#include "internal.h"

enum { ARITY = 4, TIMERS_FIRST = 64 };

static void timer_place(struct hub *h, uint32_t i, struct timer t)
{
    h->timers[i] = t;
    t.green->timer_slot = i + 1;
}

static void timer_up(struct hub *h, uint32_t i, struct timer t)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / ARITY;
        if (h->timers[parent].deadline <= t.deadline)
            break;
        timer_place(h, i, h->timers[parent]);
        i = parent;
    }
    timer_place(h, i, t);
}

static void timer_down(struct hub *h, uint32_t i, struct timer t)
{
    for (;;) {
        uint32_t first = i * ARITY + 1;
        if (first >= h->timer_count)
            break;
        uint32_t last = first + ARITY < h->timer_count ? first + ARITY : h->timer_count;
        uint32_t least = first;
        for (uint32_t c = first + 1; c < last; c++)
            if (h->timers[c].deadline < h->timers[least].deadline)
                least = c;
        if (h->timers[least].deadline >= t.deadline)
            break;
        timer_place(h, i, h->timers[least]);
        i = least;
    }
    timer_place(h, i, t);
}

static void timer_publish(struct hub *h)
{
    int64_t next = h->timer_count ? h->timers[0].deadline : DEADLINE_NEVER;
    if (atomic_load_explicit(&h->next_deadline, memory_order_relaxed) != next)
        atomic_store_explicit(&h->next_deadline, next, memory_order_relaxed);
}

void timer_add(struct hub *h, struct green *g, int64_t deadline)
{
    if (h->timer_count == h->timer_room) {
        uint32_t room = h->timer_room ? h->timer_room * 2 : TIMERS_FIRST;
        h->timers = green_realloc(h->timers, room * sizeof *h->timers);
        h->timer_room = room;
    }
    g->deadline = deadline;
    timer_up(h, h->timer_count++, (struct timer){deadline, g});
    timer_publish(h);
}

void timer_remove(struct hub *h, struct green *g)
{
    if (!g->timer_slot)
        return;
    uint32_t i = g->timer_slot - 1;
    struct timer last = h->timers[--h->timer_count];
    g->timer_slot = 0;
    if (i != h->timer_count) {
        if (i > 0 && h->timers[(i - 1) / ARITY].deadline > last.deadline)
            timer_up(h, i, last);
        else
            timer_down(h, i, last);
    }
    timer_publish(h);
}

void timer_expire(struct hub *h, int64_t now)
{
    while (h->timer_count && h->timers[0].deadline <= now) {
        struct green *g = h->timers[0].green;
        timer_remove(h, g);
        g->timed_out = true;
        unpark(g);
    }
}
