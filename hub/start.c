/* Start of the runtime, and the life of green threads. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../coro/libc.h"
#include "alloc.h"
#include "gen/real.h"
#include "internal.h"

/* Every live green thread. Guarded by its lock. */
static struct lock list_lock;
static struct green *green_list_head; /* the newest; read by libgreen-gdb.py too */
static struct green *list_tail;       /* the oldest */

static uint64_t list_changes;         /* counts them; written last of all under the lock */

/* Where green_slice() goes on. */
static struct list_reader {
    struct green *next;
    uint64_t newest, before; /* the ids to end with, and to go on behind */
} list_reader[LOOK_READERS];

static struct lock find_lock; /* for the use of list_reader[LOOK_FIND] */
static size_t list_count, list_peak;
static uint64_t list_made;

struct hub_settings hub_settings;

struct green_tls *green_tls_at(uintptr_t tp)
{
    ptrdiff_t offset = (char *)&green_tls - (char *)__builtin_thread_pointer();
    return (struct green_tls *)(tp + (uintptr_t)offset);
}

/* ---- The list ---- */

static void list_add(struct green *g)
{
    lock_acquire(&list_lock);
    g->all_prev = NULL;
    g->all_next = green_list_head;
    if (green_list_head)
        green_list_head->all_prev = g;
    else
        list_tail = g;
    green_list_head = g;
    g->id = ++list_made;
    if (++list_count > list_peak)
        list_peak = list_count;
    __atomic_store_n(&list_changes, list_changes + 1, __ATOMIC_RELEASE);
    lock_release(&list_lock);
}

static void list_remove(struct green *g)
{
    lock_acquire(&list_lock);
    if (g->all_prev)
        g->all_prev->all_next = g->all_next;
    else
        green_list_head = g->all_next;
    if (g->all_next)
        g->all_next->all_prev = g->all_prev;
    else
        list_tail = g->all_prev;
    for (int i = 0; i < LOOK_READERS; i++)
        if (list_reader[i].next == g)
            list_reader[i].next = g->all_prev;
    list_count--;
    __atomic_store_n(&list_changes, list_changes + 1, __ATOMIC_RELEASE);
    lock_release(&list_lock);
}

void green_each(void (*f)(struct green *g, void *data), void *data)
{
    int before = atomic_exchange(&green_tls.in, 1);
    lock_acquire(&list_lock);
    for (struct green *g = green_list_head; g; g = g->all_next)
        f(g, data);
    lock_release(&list_lock);
    if (!before)
        leave();
}

/* The lock, if it comes free soon: its holder may be stuck, or be the thread that a signal handler
 * of ours interrupted. */
static bool list_lock_soon(void)
{
    for (int tries = 0; tries < 500; tries++) {
        int zero = 0;
        if (atomic_compare_exchange_strong(&list_lock.word, &zero, 1))
            return true;
        struct timespec ts = {0, 10000};
        sys_2(SYS_nanosleep, &ts, NULL);
    }
    return false;
}

/* One that was met on the way through the list, and its id then. */
struct met {
    struct green *green;
    uint64_t id;
};

/* Up to n of those that follow; in *next who comes behind them. Green threads are never unmapped
 * (though they may become zero: trim.c), so that this may be done without the lock: when the list
 * changed meanwhile, what was met is nonsense and nothing worse; ids only grow on the way from the
 * oldest, which ends it. */
static size_t list_walk(const struct list_reader *r, struct met *met, size_t n, struct green **next)
{
    size_t got = 0;
    uint64_t before = r->before;
    struct green *g = __atomic_load_n(&r->next, __ATOMIC_RELAXED);
    while (g && got < n && g->id <= r->newest && g->id > before) {
        before = g->id;
        met[got++] = (struct met){g, before};
        g = __atomic_load_n(&g->all_prev, __ATOMIC_RELAXED);
    }
    *next = g;
    return got;
}

/* The next portion for a reader. The walk takes microseconds, and a reader that is preempted in it
 * must not keep others waiting: it is made without the lock, which is then held for some
 * nanoseconds, and counts if the list is as it was. Where that changes all the time, a few are met
 * under the lock. */
static size_t list_portion(struct list_reader *r, struct met *met, size_t n, bool *locked)
{
    enum { TRIES = 8, FEW = 8 };
    for (int tries = 0;; tries++) {
        struct green *next;
        uint64_t changes = __atomic_load_n(&list_changes, __ATOMIC_ACQUIRE);
        size_t got = list_walk(r, met, n, &next);
        bool have = list_lock_soon(), same = changes == list_changes;
        if (have && !same && tries == TRIES) {
            got = list_walk(r, met, FEW, &next);
            same = true;
        }
        if (!have || same) {
            r->next = got ? next : NULL;
            r->before = got ? met[got - 1].id : r->before;
        }
        if (have)
            lock_release(&list_lock);
        if (locked)
            *locked = have;
        if (!have || same)
            return got;
    }
}

static void list_begin(struct list_reader *r)
{
    bool have = list_lock_soon();
    *r = (struct list_reader){.next = list_tail, .newest = list_made};
    if (have)
        lock_release(&list_lock);
}

size_t green_slice(enum look_reader reader, struct green_look *out, size_t n, bool first,
                   bool *locked)
{
    enum { PORTION = 64 };
    struct met met[PORTION];
    struct list_reader *r = &list_reader[reader];
    if (first)
        list_begin(r);
    for (;;) {
        size_t met_now = list_portion(r, met, n < PORTION ? n : PORTION, locked), got = 0;
        for (size_t i = 0; i < met_now; i++) {
            look_at(met[i].green, &out[got]);
            got += out[got].id == met[i].id; /* else it has ended, and is another one */
        }
        if (got || !met_now)
            return got;
    }
}

bool green_find(uint64_t id, pid_t tid, struct green_look *out)
{
    struct met met[64];
    struct list_reader *r = &list_reader[LOOK_FIND];
    bool found = false;
    size_t n;
    lock_acquire(&find_lock);
    list_begin(r);
    while (!found && (n = list_portion(r, met, sizeof met / sizeof *met, NULL))) {
        for (size_t i = 0; i < n && !found; i++) {
            if (id && met[i].id != id)
                continue;
            look_at(met[i].green, out);
            found = out->id == met[i].id && (id || out->tid == tid);
        }
        if (id && met[n - 1].id >= id)
            break;
    }
    lock_release(&find_lock);
    return found;
}

size_t green_count(void)
{
    return __atomic_load_n(&list_count, __ATOMIC_RELAXED);
}

/* ---- Start ---- */

bool hub_started(void)
{
    return atomic_load_explicit(&hub_count, memory_order_relaxed) != 0;
}

bool hub_strict(void)
{
    return hub_settings.strict;
}

unsigned hub_processors(void)
{
    unsigned long set[1024 / (8 * sizeof(long))];
    long bytes = sys_3(SYS_sched_getaffinity, 0, sizeof set, set);
    unsigned n = 0;
    for (long i = 0; i < bytes / (long)sizeof(long); i++)
        n += (unsigned)__builtin_popcountl(set[i]);
    return n ? n : 1;
}

int hub_start(struct green *main_green, size_t extra, const struct hub_settings *settings)
{
    if (hub_started())
        return 0;
    green_extra = ((extra + 63) & ~(size_t)63) - sizeof(struct coro); /* whole cache lines */
    libc_disable_rseq();
    hub_settings = *settings;
    unsigned hubs = hub_settings.strict ? 1 : hub_settings.carriers;
    if (!hubs)
        hubs = hub_processors();
    if (hubs > HUBS_MAX)
        hubs = HUBS_MAX;
    if (hubs > hub_settings.max_carriers)
        hubs = hub_settings.max_carriers;
    unsigned made = 0;
    hub_shared = 1;
    while (made < hubs && hub_new(made))
        made++;
    if (!made)
        return EAGAIN;

    struct green *g = main_green;
    coro_adopt(&g->coro);
    g->tls = &green_tls;
    g->hub = hub_all[0];
    atomic_store(&g->state, GREEN_RUNNING);
    int error = carrier_start(g);
    if (error) {
        while (made)
            hub_delete(hub_all[--made]);
        return error;
    }
    deliver_alt_start(g);
    atomic_store(&hub_all[0]->current, g);
    hub_all[0]->budget = SWITCH_BUDGET;
    list_add(g);
    deliver_mask_added(g->mask);
    green_tls.self = g;
    atomic_store_explicit(&hub_count, 1, memory_order_release);
    atomic_store(&green_tls.own, OWN_ATTACHED);
    error = monitor_start();
    /* Where the system gives fewer OS threads than were asked for, those do. */
    unsigned run = 1;
    while (!error && run < made && carrier_spawn(hub_all[run]))
        atomic_store_explicit(&hub_count, hub_shared = ++run, memory_order_release);
    while (made > run)
        hub_delete(hub_all[--made]);
    return error;
}

/* ---- Green threads ---- */

/* What coro_new() runs: finishes the context that switched here, then the thread's own entry. */
static void green_entry(void *arg)
{
    struct green *g = arg;
    sched_finish(g->hub);
    leave();
    g->entry(g);
    __builtin_trap();
}

struct green *green_new(const struct coro_attr *attr, void (*entry)(struct green *g))
{
    struct coro *c = coro_new(attr, green_extra, green_entry, NULL);
    if (!c)
        return NULL;
    struct green *g = (struct green *)c;
    struct green *self = self_green();
    /* Everything behind the coroutine starts at zero, but for the words that outlive a reuse. */
    memset((char *)g + sizeof g->coro, 0, sizeof *g - sizeof g->coro);
    g->tls = green_tls_at(c->tp);
    g->tls->self = g;
    g->tls->hub = NULL;
    atomic_store(&g->tls->deferred, 0);
    atomic_store(&g->tls->in, 1); /* leaves in green_entry() */
    atomic_store(&g->tls->own, OWN_ATTACHED);
    g->mask = self ? self->mask : 0;
    g->entry = entry;
    atomic_store(&g->state, GREEN_RUNNABLE);
    return g;
}

void green_launch(struct green *g)
{
    static _Atomic unsigned turn;
    monitor_start(); /* in a forked child; else it runs */
    enter();
    list_add(g);
    PROBE1(create, g->id);
    deliver_mask_added(g->mask);
    struct hub *held = hub_held();
    struct hub *h = held;
    if (held) {
        uint64_t turn_now = atomic_load_explicit(&held->switches, memory_order_relaxed);
        held->launches = held->launch_turn == turn_now ? held->launches + 1 : 1;
        held->launch_turn = turn_now;
    }
    if (hub_shared > 1 || !h || h->owned)
        h = hub_all[atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % hub_shared];
    g->hub = h;
    if (h == held) {
        sched_push(h, g);
        sched_heed(h);
    } else {
        sched_push_remote(h, g);
    }
    leave();
}

void green_launch_pace(void)
{
    enum { LAUNCHES_AHEAD = 32 };
    struct green *g = enter();
    struct hub *h = hub_held();
    if (h && h->launches >= LAUNCHES_AHEAD &&
        h->launch_turn == atomic_load_explicit(&h->switches, memory_order_relaxed)) {
        atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
        sched_switch(g, AFTER_YIELD);
    }
    leave();
}

void green_end(bool (*release)(struct green *g))
{
    struct green *g = enter();
    list_remove(g);
    PROBE1(exit, g->id);
    deliver_mask_removed(g->mask);
    own_end(g);
    if (g->bound)
        carrier_bury(g, release);
    g->hub->release = release;
    sched_switch(g, AFTER_EXIT);
    __builtin_trap();
}

void green_release(struct green *g)
{
    coro_delete(&g->coro);
}

/* ---- Fork ---- */

static _Noreturn void fork_failed(void)
{
    static const char text[] = "libgreen: the runtime cannot start again in a forked child: "
                               "no descriptor or no memory\n"
                               "libgreen: raise RLIMIT_NOFILE, or RLIMIT_AS\n";
    sys_3(SYS_write, 2, text, sizeof text - 1);
    sys_1(SYS_exit_group, 125);
    __builtin_trap();
}

static void list_fork(struct green *g)
{
    lock_init(&list_lock);
    lock_init(&find_lock);
    green_list_head = list_tail = g;
    memset(list_reader, 0, sizeof list_reader);
    list_count = list_peak = g ? 1 : 0;
    if (g)
        g->all_next = g->all_prev = NULL;
}

/* The child has one OS thread, the caller's, and one green thread, the caller. Whatever other OS
 * threads were in the middle of is abandoned with its memory: nothing here reads it again. */
void hub_after_fork(void)
{
    struct green *g = green_tls.self;
    if (!hub_started())
        return;
    atomic_store(&green_tls.in, 1);
    alloc_fork();
    coro_after_fork(g && !g->foreign ? &g->coro : NULL);
    fd_fork();
    wait_fork();
    offload_fork();
    native_fork();
    monitor_fork();
    own_fork();
    for (unsigned i = 0; i < HUBS_MAX; i++)
        hub_all[i] = NULL;
    if (!g || g->foreign) { /* not one of ours forked: the next pthread_create starts anew */
        atomic_store(&hub_count, 0);
        carrier_forget();
        list_fork(NULL);
        leave();
        return;
    }
    list_fork(g);
    deliver_fork(g->mask);
    struct hub *h = hub_new(0);
    atomic_store(&hub_count, 1);
    if (!h || carrier_fork(g))
        fork_failed();
    h->carrier = g->carrier;
    h->budget = SWITCH_BUDGET;
    g->hub = h;
    g->pinned = false;
    g->timer_slot = 0;
    g->calls = 0;
    g->computed = 0;
    g->own = NULL;
    atomic_store(&g->interrupts, 0);
    atomic_store(&g->state, GREEN_RUNNING);
    atomic_store(&h->current, g);
    atomic_store(&green_tls.own, OWN_ATTACHED);
    leave();
}


/* ---- Figures ---- */

void hub_stats(struct hub_stats *out)
{
    *out = (struct hub_stats){.created = list_made, .alive = list_count, .peak = list_peak};
    out->hubs = atomic_load(&hub_count);
    for (unsigned i = 0; i < out->hubs; i++) {
        struct hub *h = hub_all[i];
        out->switches += atomic_load(&h->switches);
        out->parks += h->parks;
        out->polls += h->polls;
        out->handoffs += h->handoffs;
        out->detaches += h->detaches;
        out->rejoins += h->rejoins;
    }
    out->offloads = offload_calls();
    out->os_threads = native_threads(&out->os_threads_peak);
}
