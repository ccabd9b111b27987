/* The hub's own context: it polls libev when no green thread is runnable, or when enough of them
 * have run since the last poll, and starts the next one.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <ev.h>

#include "../coro/libc.h"
#include "alloc.h"
#include "evglue.h"
#include "gen/real.h"
#include "internal.h"
#include "trim.h"

enum { HUB_STACK = 256 * 1024, PREFETCH_FROM = 8 };

struct hub *hub_all[HUBS_MAX];
_Atomic unsigned hub_count;
unsigned hub_shared;
size_t green_extra;

/* The hub whose loop is being made, for evglue_open(), and the descriptor that will wake it.
 * Guarded by hub_new() being called by one thread at a time (start-up, fork). */
static struct hub *hub_making;
static int hub_making_wake;

/* ---- Waking a hub ---- */

void hub_wake(struct hub *h)
{
    int listening = atomic_load(&h->listening);
    if (!listening || hub_held() == h)
        return;
    if (listening & LISTEN_HUB)
        ev_async_send(h->loop, h->async);
    if (listening & (LISTEN_MONITOR | LISTEN_WORK))
        monitor_poke();
}

static void on_async(struct ev_loop *loop, ev_async *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

void hub_command_send(struct hub *h, struct hub_command *c)
{
    lock_acquire(&h->commands_lock);
    c->next = h->commands;
    h->commands = c;
    lock_release(&h->commands_lock);
    atomic_thread_fence(memory_order_seq_cst);
    hub_wake(h);
}

void hub_commands_run(struct hub *h)
{
    if (!__atomic_load_n(&h->commands, __ATOMIC_RELAXED))
        return;
    lock_acquire(&h->commands_lock);
    struct hub_command *c = h->commands;
    h->commands = NULL;
    lock_release(&h->commands_lock);
    while (c) {
        struct hub_command *next = c->next;
        c->run(h, c);
        green_free(c);
        c = next;
    }
}

/* ---- libev's side ---- */

static long open_epoll(void)
{
    return sys_1(SYS_epoll_create1, EPOLL_CLOEXEC);
}

static long open_eventfd(void)
{
    return sys_2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int evglue_open(enum evglue_kind kind)
{
    int fd;
    if (kind == EVGLUE_WAKE && hub_making) {
        fd = hub_making_wake;
        hub_making_wake = -EMFILE;
    } else {
        fd = fd_private_open(kind == EVGLUE_WAKE ? open_eventfd : open_epoll);
    }
    if (fd < 0) {
        errno = -fd;
        return -1;
    }
    if (kind == EVGLUE_EPOLL && hub_making)
        hub_making->epfd = fd;
    return fd;
}

void evglue_closed(int fd)
{
    fd_private_closed(fd);
}

static struct hub *hub_of_epfd(int epfd)
{
    for (unsigned i = 0; i < HUBS_MAX && hub_all[i]; i++)
        if (hub_all[i]->epfd == epfd)
            return hub_all[i];
    return NULL;
}

/* epoll_pwait2(2), Linux 5.11; elsewhere the milliseconds are rounded up. */
static int epoll_wait_ns(int epfd, struct epoll_event *events, int max, int64_t ns)
{
    static _Atomic bool lacking;
    long r;
    if (!atomic_load_explicit(&lacking, memory_order_relaxed)) {
        struct timespec ts = {ns / 1000000000, ns % 1000000000};
        r = sys_6(SYS_epoll_pwait2, epfd, events, max, ns < 0 ? NULL : &ts, NULL, 0);
        if (r != -ENOSYS && r != -EPERM)
            goto out;
        atomic_store_explicit(&lacking, true, memory_order_relaxed);
    }
    int64_t ms = ns < 0 ? -1 : (ns + 999999) / 1000000;
    r = sys_6(SYS_epoll_pwait, epfd, events, max, ms > 86400000 ? 86400000 : ms, NULL, 0);
out:
    if (r < 0) {
        errno = (int)-r;
        return -1;
    }
    return (int)r;
}

/* How long may the hub wait? 0 when somebody is runnable, else until the nearest deadline; libev's
 * own opinion counts only as a shorter one (timers of c-ares). */
static int64_t hub_patience(struct hub *h, int timeout_ms)
{
    if (timeout_ms == 0 || h->run_head || atomic_load(&h->remote))
        return 0;
    int64_t ns = -1;
    if (h->timer_count) {
        ns = h->timers[0].deadline - clock_now();
        if (ns <= 0)
            return 0;
    }
    /* Below libev's longest sleep (MAX_BLOCKTIME) the time-out is that of a timer of its own. */
    if (timeout_ms > 0 && timeout_ms < 59000 && (ns < 0 || ns > (int64_t)timeout_ms * 1000000))
        ns = (int64_t)timeout_ms * 1000000;
    return ns;
}

int evglue_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    struct hub *h = hub_of_epfd(epfd);
    if (!h)
        return epoll_wait_ns(epfd, events, max, timeout_ms < 0 ? -1 : timeout_ms * INT64_C(1000000));
    if (max > POLL_MOST)
        max = POLL_MOST;
    h->polls++;
    h->watchers_pending = false;
    deliver_idle_begin(h);
    /* libev goes to sleep with events at hand: those of descriptors that epoll has just refused. */
    if (timeout_ms == 0 || h->run_head || ev_pending_count(h->loop)) {
        int ready = epoll_wait_ns(epfd, events, max, 0);
        if (ready > PREFETCH_FROM)
            io_prefetch(h, events, ready);
        return ready;
    }
    atomic_fetch_or(&h->listening, LISTEN_HUB); /* before the queues are looked at: see hub_wake() */
    int64_t ns = __atomic_load_n(&h->commands, __ATOMIC_SEQ_CST) ? 0 : hub_patience(h, timeout_ms);
    if (ns)
        trim_hint();
    int r = epoll_wait_ns(epfd, events, max, ns);
    atomic_fetch_and(&h->listening, ~LISTEN_HUB);
    monitor_wake();
    if (r > PREFETCH_FROM)
        io_prefetch(h, events, r);
    return r;
}

/* ---- The hub's context ---- */

/* ---- With several hubs ---- */

/* To go to another hub costs a thread about as much as a short turn: its watchers are set up anew, and the
 * other carrier is woken. Worth it at once are turns of such a length and so long a queue of them; for
 * shorter ones, where this hub has not slept for a while and the other has done nothing else. */
enum {
    SHARE_TURN_NS = 20000,
    SHARE_QUEUE_NS = 100000,
    SHARE_BUSY_NS = 10000000,
    SHARE_IDLE_NS = 5000000,
    SLEPT_NS = 50000, /* a poll that took longer has waited */
};

/* Before a poll: how long were the turns since the last one? */
static int64_t hub_measure(struct hub *h)
{
    int64_t now = clock_now();
    uint64_t switches = atomic_load_explicit(&h->switches, memory_order_relaxed);
    uint64_t turns = switches - h->measured_switches;
    if (turns)
        h->turn_ns = (3 * h->turn_ns + (now - h->now) / (int64_t)turns) / 4;
    h->measured_switches = switches;
    return now;
}

static bool hub_shares_with(const struct hub *h, struct hub *other)
{
    if (!(atomic_load_explicit(&other->listening, memory_order_relaxed) & LISTEN_HUB))
        return false;
    if (h->turn_ns >= SHARE_TURN_NS)
        return h->turn_ns * (int64_t)h->run_length >= SHARE_QUEUE_NS;
    return h->now - h->busy_since >= SHARE_BUSY_NS &&
           h->now - __atomic_load_n(&other->now, __ATOMIC_RELAXED) >= SHARE_IDLE_NS;
}

/* Give half of a backlog to a hub that sleeps. */
static void hub_share(struct hub *h)
{
    unsigned n = hub_shared;
    if (h->run_length < 2)
        return;
    for (unsigned i = 1; i < n; i++) {
        struct hub *other = hub_all[(h->index + i) % n];
        if (!hub_shares_with(h, other))
            continue;
        size_t give = h->run_length / 2;
        for (size_t k = 0; k < give; k++) {
            struct green *g = sched_pop(h);
            if (g->pinned || g->bound) {
                sched_push(h, g);
                continue;
            }
            timer_remove(h, g);
            g->hub = other;
            sched_push_remote(other, g);
        }
        return;
    }
}

/* Wait for what libev knows of, or, when somebody is runnable, only look. */
static void hub_poll(struct hub *h)
{
    bool shares = hub_shared > 1 && h->index < hub_shared;
    int64_t before = shares ? hub_measure(h) : 0;
    sched_drain_remote(h);
    hub_commands_run(h);
    ev_run(h->loop, h->run_head ? EVRUN_NOWAIT : EVRUN_ONCE);
    deliver_hub_signals(h);
    h->now = clock_now();
    timer_expire(h, h->now);
    sched_drain_remote(h);
    if (shares) {
        if (h->now - before > SLEPT_NS)
            h->busy_since = h->now;
        hub_share(h);
    }
    /* Everybody who is runnable now has a turn before the next poll: a descriptor that was reported
     * and not read yet would only be reported again. */
    size_t turns = h->run_length < SWITCH_BUDGET_MAX ? h->run_length : SWITCH_BUDGET_MAX;
    h->budget = turns > SWITCH_BUDGET ? (int)turns : SWITCH_BUDGET;
}

static void hub_run(void *arg)
{
    struct hub *h = arg;
    libc_thread_begin();
    for (;;) {
        if (__builtin_expect(sched_watch != NULL, 0))
            sched_watched(h, NULL);
        sched_finish(h);
        atomic_store_explicit(&h->current, NULL, memory_order_relaxed);
        if (!h->run_head || --h->budget <= 0)
            hub_poll(h);
        struct green *next = sched_pop(h);
        if (next)
            sched_resume(h, h->coro, next);
    }
}

static void *hub_realloc(void *p, long size)
{
    if (size)
        return green_realloc(p, (size_t)size);
    green_free(p);
    return NULL;
}

/* libev ends the process where it gets no memory, or no descriptor to be woken by: so it begins only
 * when both are there. Its largest array is as long as the highest descriptor, which is this one. */
static bool hub_loop_affordable(void)
{
    enum { SMALL = 16 * 1024, ARRAY_ENTRY = 16 };
    hub_making_wake = fd_private_open(open_eventfd);
    if (hub_making_wake < 0)
        return false;
    void *array = alloc_reserve(SMALL) ? green_alloc(((size_t)hub_making_wake + 1) * 2 * ARRAY_ENTRY)
                                       : NULL;
    green_free(array);
    return array != NULL;
}

static bool hub_loop_open(struct hub *h)
{
    ev_set_allocator(hub_realloc);
    hub_making = h;
    hub_making_wake = -EMFILE;
    h->async = green_calloc(1, sizeof *h->async);
    h->loop = h->async && hub_loop_affordable()
                  ? ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOINOTIFY)
                  : NULL;
    if (h->loop) {
        ev_async_init(h->async, on_async);
        ev_async_start(h->loop, h->async);
    } else if (hub_making_wake >= 0) {
        evglue_closed(hub_making_wake);
        sys_1(SYS_close, hub_making_wake);
    }
    hub_making = NULL;
    return h->loop != NULL;
}

void hub_delete(struct hub *h)
{
    if (h->loop)
        ev_loop_destroy(h->loop);
    if (h->coro)
        coro_delete(h->coro);
    green_free(h->async);
    hub_all[h->index] = NULL;
    green_free(h);
}

struct hub *hub_new(unsigned index)
{
    static const struct coro_attr attr = {.stack_size = HUB_STACK, .guard_size = 4096};
    struct hub *h = green_calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->index = index;
    h->now = clock_now();
    atomic_store(&h->next_deadline, DEADLINE_NEVER);
    h->coro = coro_new(&attr, green_extra, hub_run, h);
    if (!h->coro || !hub_loop_open(h)) {
        hub_delete(h);
        return NULL;
    }
    h->tls = green_tls_at(h->coro->tp);
    atomic_store(&h->tls->own, OWN_HUB);
    h->tls->hub = h;
    __atomic_store_n(&hub_all[index], h, __ATOMIC_RELEASE); /* others may look at once */
    return h;
}
