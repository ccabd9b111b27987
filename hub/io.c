/* Waiting for descriptors: one libev watcher per descriptor and hub, armed lazily and left armed
 * between waits; the waiters of a descriptor stand in a list.
 *
 * Everything is owned by the hub's holder. Other threads that close a descriptor send a command.
 * Level-triggered throughout: a waiter that does not use what woke it costs nobody anything,
 * because the next poll reports it again.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include <ev.h>

#include "alloc.h"
#include "gen/real.h"
#include "internal.h"

enum { WATCH_CHUNK = 1024, WATCH_CHUNKS = 4096, BATCH_MAX = 64, UNWANTED_MAX = 2 };

/* One wait; lies on the waiting green thread's stack. */
struct io_group {
    struct green *green;
    struct io_waiter *waiters;
    size_t count;
    bool fired;
};

struct io_waiter {
    struct io_waiter *next, *prev;
    struct io_watch *watch; /* NULL when not linked */
    struct io_group *group;
    int fd; /* where to go on; changes when the descriptor is closed under the waiter */
    uint8_t events;
    bool exclusive;
};

struct io_watch {
    ev_io io;
    uint32_t generation; /* of the descriptor number when it was armed */
    uint8_t armed;       /* IO_READ, IO_WRITE: what the watcher is started for */
    uint8_t rare;        /* IO_RARE: what rare.c watches */
    uint8_t unwanted;    /* reports in a row that nobody waited for */
    uint8_t batch;       /* exclusive waiters to wake at once, see on_ready() */
    uint32_t shared;     /* waiters that are not exclusive */
    uint32_t polled;     /* the hub's poll that reported it last */
    struct io_waiter *head, *tail;
};

/* ---- Watches ---- */

/* NULL when the number was never waited for. */
static inline struct io_watch *watch_find(const struct hub *h, int fd)
{
    unsigned i = (unsigned)fd / WATCH_CHUNK; /* of a negative number: beyond the last */
    if (i >= WATCH_CHUNKS || !h->watches || !h->watches[i])
        return NULL;
    return &h->watches[i][(unsigned)fd % WATCH_CHUNK];
}

static struct io_watch *watch_make(struct hub *h, int fd)
{
    unsigned i = (unsigned)fd / WATCH_CHUNK;
    if (i >= WATCH_CHUNKS)
        return NULL;
    if (!h->watches)
        h->watches = green_calloc(WATCH_CHUNKS, sizeof *h->watches);
    if (h->watches && !h->watches[i])
        h->watches[i] = green_calloc(WATCH_CHUNK, sizeof **h->watches);
    return watch_find(h, fd);
}

static int ev_events(int events)
{
    return (events & IO_READ ? EV_READ : 0) | (events & IO_WRITE ? EV_WRITE : 0);
}

static int io_events(int revents)
{
    return (revents & EV_READ ? IO_READ : 0) | (revents & EV_WRITE ? IO_WRITE : 0);
}

static inline void waiter_unlink(struct io_waiter *w)
{
    struct io_watch *watch = w->watch;
    if (!watch)
        return;
    watch->shared -= !w->exclusive;
    w->group->green->hub->awaited--;
    *(w->prev ? &w->prev->next : &watch->head) = w->next;
    *(w->next ? &w->next->prev : &watch->tail) = w->prev;
    w->watch = NULL;
}

/* --warn-multiple-readers */
static void watch_shared(const struct io_watch *watch, const struct io_waiter *w)
{
    for (const struct io_waiter *other = watch->head; other; other = other->next)
        if (other->events & w->events && other->group->green != w->group->green) {
            io_shared_watch(w->fd, other->events & w->events, w->group->green, other->group->green);
            return;
        }
}

static inline void waiter_link(struct io_watch *watch, struct io_waiter *w)
{
    if (__builtin_expect(io_shared_watch != NULL, 0))
        watch_shared(watch, w);
    w->next = NULL;
    w->prev = watch->tail;
    *(watch->tail ? &watch->tail->next : &watch->head) = w;
    watch->tail = w;
    w->watch = watch;
    watch->shared += !w->exclusive;
    w->group->green->hub->awaited++;
}

static void group_fire(struct io_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        waiter_unlink(&group->waiters[i]);
    group->fired = true;
    group->green->pinned = false;
    unpark(group->green);
}

/* What the waiters of a descriptor want. */
static int watch_wanted(const struct io_watch *watch)
{
    int events = 0;
    for (const struct io_waiter *w = watch->head; w; w = w->next)
        events |= w->events;
    return events & ~IO_RARE;
}

/* Wake waiters; returns the events that somebody was woken for. Exclusive ones are woken one by one,
 * in order; while one poll after another finds the descriptor ready, twice as many each time: there
 * is enough for more of them. */
static int watch_fire(struct io_watch *watch, int ready)
{
    uint32_t poll = (uint32_t)hub_held()->polls;
    bool again = watch->batch && watch->polled + 1 == poll;
    watch->batch = (uint8_t)(again ? (watch->batch < BATCH_MAX ? watch->batch * 2 : BATCH_MAX) : 1);
    watch->polled = poll;
    int readers = watch->batch, writers = watch->batch;
    int open = ready; /* what the exclusive are still woken for */
    int used = 0;
    for (struct io_waiter *w = watch->head, *next; w && (open || watch->shared); w = next) {
        next = w->next;
        int hit = w->events & (w->exclusive ? open : ready);
        if (!hit)
            continue;
        used |= hit;
        if (w->exclusive && hit & IO_READ && --readers == 0)
            open &= ~IO_READ;
        if (w->exclusive && hit & IO_WRITE && --writers == 0)
            open &= ~IO_WRITE;
        group_fire(w->group);
        /* A group may hold several waiters of one descriptor: next may be gone. */
        next = watch->head == NULL ? NULL : next && next->watch == watch ? next : watch->head;
    }
    return used;
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
    struct io_watch *watch = (struct io_watch *)io;
    if (revents & EV_ERROR) {
        /* The descriptor cannot be watched, and libev has stopped the watcher: who waits for it
         * shall try its call. */
        watch->armed = 0;
        while (watch->head)
            group_fire(watch->head->group);
        return;
    }
    int ready = io_events(revents);
    int used = watch_fire(watch, ready);
    if (!(ready & ~used)) {
        watch->unwanted = 0;
    } else if (++watch->unwanted > UNWANTED_MAX) {
        /* Nobody wants this: stop asking for it. libev then drops it from the epoll set. Not at
         * once: who was woken for it may not have had its turn yet. */
        int wanted = used | watch_wanted(watch);
        watch->unwanted = 0;
        watch->armed = (uint8_t)wanted;
        ev_io_stop(loop, io);
        if (wanted) {
            ev_io_modify(io, ev_events(wanted));
            ev_io_start(loop, io);
        }
    }
}

/* The number has another description: what was watched is nothing to it. */
static void watch_renew(struct hub *h, struct io_watch *watch, uint32_t generation)
{
    if (watch->armed)
        ev_io_stop(h->loop, &watch->io);
    watch->armed = watch->rare = 0;
    watch->generation = generation;
}

static void watch_arm(struct hub *h, struct io_watch *watch, int fd, int events)
{
    if ((watch->armed & events) == events)
        return;
    int all = watch->armed | events;
    if (watch->armed) {
        ev_io_stop(h->loop, &watch->io);
        ev_io_modify(&watch->io, ev_events(all));
    } else {
        if (!watch->io.cb)
            ev_init(&watch->io, on_ready);
        ev_io_set(&watch->io, fd, ev_events(all));
    }
    ev_io_start(h->loop, &watch->io);
    watch->armed = (uint8_t)all;
    h->watchers_pending = true;
}

/* ---- Rare events ---- */

static bool watch_arm_rare(struct hub *h, struct io_watch *watch, int fd, int events)
{
    if ((watch->rare & events) == events)
        return true;
    int all = watch->rare | events;
    if (!rare_arm(h, fd, all))
        return false;
    watch->rare = (uint8_t)all;
    return true;
}

void io_rare_ready(struct hub *h, int fd, int events)
{
    struct io_watch *watch = watch_find(h, fd);
    bool wanted = false;
    if (!watch)
        return;
    for (struct io_waiter *w = watch->head, *next; w; w = next) {
        next = w->next;
        if (!(w->events & events))
            continue;
        wanted = true;
        group_fire(w->group);
        next = watch->head == NULL ? NULL : next && next->watch == watch ? next : watch->head;
    }
    if (!wanted) {
        watch->rare = 0;
        rare_disarm(h, fd);
    }
}

/* Everything that a waiter asks for; false when the kernel refuses. */
static inline bool watch_want(struct hub *h, struct io_watch *watch, int fd, int events,
                              uint32_t generation)
{
    if (__builtin_expect(watch->generation == generation && !(events & ~watch->armed), 1))
        return true;
    if (watch->generation != generation)
        watch_renew(h, watch, generation);
    if (events & IO_RARE && !watch_arm_rare(h, watch, fd, events & IO_RARE))
        return false;
    watch_arm(h, watch, fd, events & ~IO_RARE);
    return true;
}

/* ---- Events to come ---- */

/* A thousand connections do not fit into the caches, and what one event leads to lies one pointer
 * behind the other. Here each step is taken for all events before the next, so that the misses of
 * many overlap. */
void io_prefetch(struct hub *h, const struct epoll_event *events, int n)
{
    struct io_watch *watches[POLL_MOST];
    int found = 0;
    for (int i = 0; i < n && found < POLL_MOST; i++) {
        struct io_watch *watch = watch_find(h, (int)(uint32_t)events[i].data.u64);
        if (watch) {
            __builtin_prefetch(watch);
            __builtin_prefetch((char *)watch + 64);
            watches[found++] = watch;
        }
    }
    for (int i = 0; i < found; i++) {
        __builtin_prefetch(watches[i]->head);
        __builtin_prefetch((char *)watches[i]->head + 64);
    }
    for (int i = 0; i < found; i++) {
        if (!watches[i]->head)
            continue;
        const struct green *g = watches[i]->head->group->green;
        __builtin_prefetch(g);
        __builtin_prefetch((const char *)g + 64);
    }
}

/* ---- Closing under a watcher ---- */

static void watch_stop(struct hub *h, struct io_watch *watch, int fd)
{
    if (watch->rare)
        rare_disarm(h, fd);
    watch->rare = 0;
    if (!watch->armed)
        return;
    ev_io_stop(h->loop, &watch->io);
    watch->armed = 0;
    struct epoll_event ignored = {0};
    sys_4(SYS_epoll_ctl, h->epfd, EPOLL_CTL_DEL, fd, &ignored);
}

/* Move the waiters of a closed number to `duplicate`, which keeps its description. */
static void watch_move(struct hub *h, struct io_watch *from, int duplicate)
{
    struct io_watch *to = watch_make(h, duplicate);
    struct fd_entry *e = fd_entry(duplicate);
    int events = 0;
    struct io_waiter *w;
    while ((w = from->head)) {
        waiter_unlink(w);
        w->fd = duplicate;
        if (e)
            atomic_fetch_add_explicit(&e->users, 1, memory_order_relaxed);
        events |= w->events;
        if (to)
            waiter_link(to, w);
    }
    if (to && events && e)
        watch_want(h, to, duplicate, events,
                   atomic_load_explicit(&e->generation, memory_order_relaxed));
}

static void duplicate_close(int fd)
{
    fd_closing(fd);
    fd_private_closed(fd);
    sys_1(SYS_close, fd);
}

static void on_closed_elsewhere(struct hub *h, struct hub_command *c)
{
    struct io_watch *watch = watch_find(h, c->fd);
    /* One that was armed since is for the number's next description. */
    if (watch && (int32_t)(watch->generation - c->generation) < 0) {
        if (watch->armed)
            ev_io_stop(h->loop, &watch->io);
        watch->armed = watch->rare = 0;
        if (watch->head && c->duplicate >= 0) {
            watch_move(h, watch, c->duplicate);
            return;
        }
    }
    if (c->duplicate >= 0) /* who waited has gone on meanwhile */
        duplicate_close(c->duplicate);
}

void io_closing(struct hub *h, int fd)
{
    struct io_watch *watch = watch_find(h, fd);
    if (!watch || (!watch->armed && !watch->rare && !watch->head))
        return;
    if (hub_held() == h) {
        watch_stop(h, watch, fd);
        if (watch->head) {
            int duplicate = fd_private_copy(fd);
            if (duplicate >= 0)
                watch_move(h, watch, duplicate);
        }
        return;
    }
    struct epoll_event ignored = {0};
    sys_4(SYS_epoll_ctl, h->epfd, EPOLL_CTL_DEL, fd, &ignored);
    if (watch->rare)
        rare_disarm(h, fd);
    struct hub_command *c = green_calloc(1, sizeof *c);
    struct fd_entry *e = fd_entry(fd);
    if (!c)
        return;
    c->run = on_closed_elsewhere;
    c->fd = fd;
    c->duplicate = __atomic_load_n(&watch->head, __ATOMIC_RELAXED) ? fd_private_copy(fd) : -1;
    c->generation = atomic_load(&e->generation);
    hub_command_send(h, c);
}

/* ---- Waking ---- */

static void watch_wake(struct io_watch *watch)
{
    while (watch->head)
        group_fire(watch->head->group);
}

static void on_wake_elsewhere(struct hub *h, struct hub_command *c)
{
    struct io_watch *watch = watch_find(h, c->fd);
    if (watch)
        watch_wake(watch);
}

static void io_wake_on(struct hub *h, int fd)
{
    struct io_watch *watch = watch_find(h, fd);
    if (!watch || !__atomic_load_n(&watch->head, __ATOMIC_RELAXED))
        return;
    if (hub_held() == h) {
        watch_wake(watch);
        return;
    }
    struct hub_command *c = green_calloc(1, sizeof *c);
    if (c) {
        c->run = on_wake_elsewhere;
        c->fd = fd;
        hub_command_send(h, c);
    }
}

void io_wake(int fd)
{
    unsigned n = atomic_load_explicit(&hub_count, memory_order_acquire);
    if (!n)
        return;
    int before = atomic_exchange(&green_tls.in, 1);
    for (unsigned i = 0; i < n; i++)
        io_wake_on(hub_all[i], fd);
    if (!before)
        leave();
}

/* ---- Waiting ---- */

static bool group_fired(void *arg)
{
    return ((struct io_group *)arg)->fired;
}

static inline bool group_add(struct hub *h, struct io_group *group, struct io_waiter *w, int fd,
                             int events, bool exclusive)
{
    struct io_watch *watch = watch_find(h, fd);
    struct fd_entry *e = fd_entry(fd);
    if (__builtin_expect(!watch, 0))
        watch = watch_make(h, fd);
    *w = (struct io_waiter){.group = group, .fd = fd, .events = (uint8_t)events,
                            .exclusive = exclusive};
    if (!watch || !e)
        return false;
    uint32_t generation = atomic_load_explicit(&e->generation, memory_order_relaxed);
    if (watch->generation != generation && watch->head)
        hub_commands_run(h); /* those who wait for the number's former description move on first */
    if (!watch_want(h, watch, fd, events, generation))
        return false;
    waiter_link(watch, w);
    return true;
}

static inline enum wait_result group_wait(struct green *g, struct io_group *group, int64_t deadline,
                                          int flags)
{
    enum wait_result result = WAIT_WOKEN;
    g->pinned = true;
    enum park_result r = park_until(g, group_fired, group, deadline);
    for (size_t i = 0; i < group->count; i++)
        waiter_unlink(&group->waiters[i]);
    g->pinned = false;
    if (r == PARK_TIMED_OUT)
        return WAIT_TIMED_OUT;
    if (r == PARK_INTERRUPTED && !park_interrupted(g, flags, &result))
        result = WAIT_WOKEN; /* no handler ran: the caller tries, and waits again */
    return result;
}

enum wait_result io_wait(int *fd, int events, int64_t deadline, int flags)
{
    struct green *g = enter();
    struct io_waiter w;
    struct io_group group = {.green = g, .waiters = &w, .count = 1};
    enum wait_result result = WAIT_WOKEN;
    if (!g->foreign && group_add(g->hub, &group, &w, *fd, events, true)) {
        g->waits_for = WAIT_FD;
        g->wait_object = (void *)(intptr_t)*fd;
        result = group_wait(g, &group, deadline, flags);
        *fd = w.fd;
    }
    leave();
    return result;
}

enum wait_result io_wait_any(const struct io_poll *set, size_t n, int64_t deadline, int flags)
{
    struct green *g = enter();
    struct io_waiter waiters[IO_POLL_MAX];
    struct io_group group = {.green = g, .waiters = waiters, .count = 0};
    enum wait_result result = WAIT_WOKEN;
    bool all = !g->foreign && n <= IO_POLL_MAX;
    while (all && group.count < n) {
        const struct io_poll *p = &set[group.count];
        all = group_add(g->hub, &group, &waiters[group.count], p->fd, p->events, false);
        group.count++;
    }
    if (all) {
        g->waits_for = WAIT_POLL;
        g->wait_object = n ? (void *)(intptr_t)set[0].fd : NULL;
        result = group_wait(g, &group, deadline, flags);
    } else {
        for (size_t i = 0; i < group.count; i++)
            waiter_unlink(&waiters[i]);
    }
    leave();
    for (size_t i = 0; i < group.count; i++)
        io_wait_done(waiters[i].fd, set[i].fd);
    return result;
}

void io_wait_done(int fd, int original)
{
    if (fd == original)
        return;
    struct fd_entry *e = fd_entry(fd);
    if (e && atomic_fetch_sub_explicit(&e->users, 1, memory_order_relaxed) > 1)
        return;
    duplicate_close(fd);
}

/* In a forked child: the loop is a new one, and nobody waits. */
void io_fork(struct hub *h)
{
    h->watches = NULL;
    rare_fork(h);
}
