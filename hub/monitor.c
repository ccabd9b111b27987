/* The monitor: a native thread that finds green threads which keep their hub although others could
 * run, asks them to yield, and takes the hub from those that do not enter the runtime.
 *
 * It ticks while green threads run, waits to be told or for the hub's epoll descriptor while one runs and
 * nothing else is due, and sleeps when every hub sleeps. It uses no stdio, no dlsym and no lock that the
 * program can hold. Under --strict it only exists, so that libc takes its locks in earnest.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include <time.h>

#include "../coro/libc.h"
#include "gen/real.h"
#include "internal.h"
#include "sleeps.h"
#include "trim.h"

enum {
    TICK_NS = 1000000,
    WAITED = 4, /* times the handoff time: others go on, unless they would wait as well; */
    STARVED = 20, /* even then */
    IDLE_TICK_NS = 4000000, /* while every hub sleeps, before the monitor does */
    IDLE_TICKS = 5, /* so many looks, unless the hubs slept for longer than those the last time */
    HURRY_TICK_NS = 125000, /* after a hub was taken from one that sleeps, for so many looks: */
    HURRY_LOOKS = 16,       /* where one blocks, others often do in the same moment */
    STEADY_TICK_NS = 2500000, /* while every hub was seen to switch at so many looks in a row */
    STEADY_LOOKS = 8,
    ALONE_LOOKS = 8, /* so many without work for anybody else, and the monitor waits to be told */
    ALONE_TRIM_NS = 100000000, /* but looks that often while there is memory to give back */
    SPARE_AFTER_NS = 20000000, /* after a thread that computes lost its hub: it mostly comes back soon */
    MONITOR_STACK = 64 * 1024,
};

_Atomic int monitor_asleep;

/* ---- The barrier that makes a store of `own` visible before `in` is read ----
 *
 * Who enters stores `in` and then loads `own`; who asks stores `own` and then loads `in`. One of the
 * two must see the other's store, which takes a full fence between store and load on both sides.
 * membarrier() makes the other OS threads execute theirs, at whatever instruction they are: before
 * the store of `in`, whose load of `own` then sees the request, or after it, and `in` is seen. Where
 * it is refused a fence of the monitor's alone would not do: the other's store of `in` may wait in
 * its store buffer while its load of `own` has been done. hub_enter_fences puts one there; those who
 * set `in` by an exchange have it anyhow. It is set before the monitor's thread exists, by a thread
 * that is the only one or whose creation of others orders it. */

static bool barrier_expedited; /* immutable once the monitor runs */

static void barrier_start(void)
{
    barrier_expedited =
        sys_3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    hub_enter_fences = !barrier_expedited && !hub_settings.strict;
}

static void barrier_all(void)
{
    if (barrier_expedited)
        sys_3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/* ---- What a hub's current thread does ---- */

static int64_t thread_cpu_ns(pid_t tid)
{
    struct timespec ts;
    clockid_t clock = (clockid_t)((~(unsigned)tid << 3) | 6); /* CPUCLOCK_SCHED of one thread */
    if (sys_2(SYS_clock_gettime, clock, &ts))
        return -1;
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Does anybody wait for a descriptor? Where nobody does, one that is ready is no work: it is mostly the
 * running thread's own. */
static bool descriptors_awaited(const struct hub *h)
{
    return __atomic_load_n(&h->awaited, __ATOMIC_RELAXED) != 0;
}

/* Would anybody else run if the hub were free? The holder's fields are read as hints. */
static bool work_due(struct hub *h, int64_t now)
{
    if (__atomic_load_n(&h->run_head, __ATOMIC_RELAXED) || atomic_load(&h->remote) ||
        __atomic_load_n(&h->commands, __ATOMIC_RELAXED) || atomic_load(&deliver_signals_came) ||
        atomic_load(&h->next_deadline) <= now)
        return true;
    if (!descriptors_awaited(h))
        return false;
    if (__atomic_load_n(&h->watchers_pending, __ATOMIC_RELAXED))
        return true;
    struct pollfd p = {.fd = h->epfd, .events = POLLIN};
    struct timespec zero = {0, 0};
    return sys_5(SYS_ppoll, &p, 1, &zero, NULL, 0) > 0;
}

/* Take the hub from g, its current thread, unless g answers the request. */
static bool monitor_take(struct hub *h, struct green *g)
{
    struct carrier *spare = carrier_take_spare(false);
    if (!spare)
        return false;
    struct green_tls *tls = g->tls;
    uint64_t switches = atomic_load(&h->switches);
    int own = OWN_ATTACHED;
    bool won = false;
    if (atomic_compare_exchange_strong(&tls->own, &own, OWN_REQUESTED) || own == OWN_REQUESTED) {
        barrier_all();
        own = OWN_REQUESTED;
        if (!atomic_load(&tls->in) && atomic_load(&h->current) == g &&
            atomic_load(&h->switches) == switches)
            won = atomic_compare_exchange_strong(&tls->own, &own, OWN_DETACHED);
        if (!won) {
            own = OWN_REQUESTED;
            atomic_compare_exchange_strong(&tls->own, &own, OWN_ATTACHED);
        }
    }
    if (!won) {
        carrier_return_spare(spare);
        return false;
    }
    h->detaches++;
    PROBE1(handoff, g->id);
    if (__builtin_expect(sched_handoff_watch != NULL, 0))
        sched_handoff_watch(h->index, g);
    if (__builtin_expect(hub_detached_hook != NULL, 0))
        hub_detached_hook(g, h->stuck_since);
    atomic_store(&h->current, NULL);
    atomic_store(&h->switches, switches + 1);
    carrier_give(spare, h);
    return true;
}

/* Ask g to yield at its next entry, without taking anything. */
static void monitor_request(struct green *g)
{
    int own = OWN_ATTACHED;
    atomic_compare_exchange_strong(&g->tls->own, &own, OWN_REQUESTED);
}

/* Asleep; one thread has kept it since the last look; the same, but that thread sleeps in the kernel and
 * nothing is due; it switches; whatever it does, nobody else could run before one is woken or its time
 * comes. */
enum verdict { HUB_ASLEEP, HUB_BUSY, HUB_WATCHED, HUB_SWITCHES, HUB_ALONE };

/* The monitor's own. */
static int monitor_hurry;     /* looks to go at the quick pace */
static int64_t monitor_spare; /* when a new spare is made, if there is none by then */

/* The state of the hub's thread. One that was seen to wait without being asleep and has not run since
 * still waits: to fall asleep it would have had to run. */
static enum thread_state monitor_state(struct hub *h, const struct carrier *c, int64_t cpu)
{
    if (h->waits_tid == c->tid && h->waits_cpu == cpu)
        return h->waits_state;
    enum thread_state state = thread_state(c->tid);
    h->waits_tid = state == THREAD_RUNNABLE || state == THREAD_BLOCKED ? c->tid : 0;
    h->waits_cpu = cpu;
    h->waits_state = state;
    return state;
}

static enum verdict monitor_look(struct hub *h, int64_t now)
{
    if (atomic_load(&h->listening) & LISTEN_HUB)
        return HUB_ASLEEP;
    struct green *g = atomic_load(&h->current);
    uint64_t switches = atomic_load(&h->switches);
    struct carrier *c = __atomic_load_n(&h->carrier, __ATOMIC_RELAXED);
    bool alone = !descriptors_awaited(h) && !work_due(h, now);
    if (!g || !c || switches != h->seen_switches) {
        h->seen_switches = switches;
        h->stuck_since = now;
        h->stuck_cpu = h->stuck_cpu_first = c ? thread_cpu_ns(c->tid) : 0;
        return alone ? HUB_ALONE : HUB_SWITCHES;
    }
    int64_t cpu = thread_cpu_ns(c->tid);
    bool asleep = cpu == h->stuck_cpu && monitor_state(h, c, cpu) == THREAD_SLEEPS;
    h->stuck_cpu = cpu;
    if (alone || !work_due(h, now))
        return asleep ? HUB_WATCHED : alone ? HUB_ALONE : HUB_BUSY;
    /* A thread computes for as long as it had a processor, not for as long as it waited for one. */
    int64_t busy = cpu - h->stuck_cpu_first, since = now - h->stuck_since;
    bool long_since = since >= STARVED * hub_settings.handoff ||
                      (since >= WAITED * hub_settings.handoff &&
                       monitor_state(h, c, cpu) >= THREAD_BLOCKED);
    if (asleep || busy >= hub_settings.handoff || long_since) {
        bool lacks = !carrier_spares();
        bool taken = monitor_take(h, g);
        if (taken && busy >= hub_settings.handoff)
            own_computed(g, now);
        monitor_hurry = taken && asleep ? HURRY_LOOKS : monitor_hurry;
        monitor_spare = taken && !asleep ? now + SPARE_AFTER_NS : lacks ? 0 : monitor_spare;
    } else if (busy >= hub_settings.handoff / 2)
        monitor_request(g);
    return HUB_BUSY;
}

/* ---- Sleeping ---- */

/* Ends monitor_watch(); -1 before the monitor has started. */
static int poke_fd = -1;

void monitor_poke(void)
{
    uint64_t one = 1;
    sys_3(SYS_write, poke_fd, &one, sizeof one);
}

static void monitor_nap(int64_t ns)
{
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    sys_2(SYS_nanosleep, &ts, NULL);
}

/* Every hub sleeps: so does the monitor, until one runs again (false) or there is memory to give back. */
static bool monitor_sleep(int64_t now)
{
    atomic_store(&monitor_asleep, 1);
    barrier_all();
    unsigned n = atomic_load(&hub_count);
    for (unsigned i = 0; i < n; i++)
        if (!(atomic_load(&hub_all[i]->listening) & LISTEN_HUB))
            atomic_store(&monitor_asleep, 0);
    int64_t ns = trim_wait(now);
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    long r = 0;
    while (atomic_load(&monitor_asleep) && r != -ETIMEDOUT)
        r = sys_6(SYS_futex, &monitor_asleep, FUTEX_WAIT_PRIVATE, 1, ns < 0 ? NULL : &ts, NULL, 0);
    return atomic_exchange(&monitor_asleep, 0);
}

void monitor_wake_slow(void)
{
    if (atomic_exchange(&monitor_asleep, 0))
        sys_6(SYS_futex, &monitor_asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Has a hub that runs got something to do since it was looked at? Where the monitor listens for work only,
 * that its thread went to sleep and came back is none. */
static bool watch_over(struct hub *h, int64_t now)
{
    int listening = atomic_load(&h->listening);
    return !(listening & LISTEN_HUB) &&
           ((listening & LISTEN_MONITOR && atomic_load(&h->switches) != h->seen_switches) ||
            work_due(h, now));
}

/* Every hub that runs has nothing to do but for the thread that runs, which `alone` may go on meanwhile,
 * else is blocked in the kernel: wait for something to do. */
static void monitor_watch(int64_t now, bool alone)
{
    enum { WATCH_MAX = 16 };
    struct pollfd fds[WATCH_MAX + 1] = {{.fd = poke_fd, .events = POLLIN}};
    unsigned n = atomic_load(&hub_count);
    nfds_t count = 1;
    if (n > WATCH_MAX) {
        monitor_nap(TICK_NS);
        return;
    }
    int64_t trim = trim_wait_hint(now), until = trim < 0 ? DEADLINE_NEVER : now + trim;
    if (alone && trim >= 0 && trim < ALONE_TRIM_NS)
        until = now + ALONE_TRIM_NS;
    for (unsigned i = 0; i < n; i++) {
        struct hub *h = hub_all[i];
        bool awaited = descriptors_awaited(h);
        atomic_fetch_or(&h->listening, awaited ? LISTEN_MONITOR : LISTEN_WORK);
        if (awaited)
            fds[count++] = (struct pollfd){.fd = h->epfd, .events = POLLIN};
        int64_t next = atomic_load(&h->next_deadline);
        until = next < until ? next : until;
    }
    barrier_all();
    bool due = false;
    for (unsigned i = 0; i < n && !due; i++)
        due = watch_over(hub_all[i], now);
    if (!due) {
        int64_t ns = until == DEADLINE_NEVER ? -1 : until - now;
        if (ns < 0 && until != DEADLINE_NEVER)
            ns = 0;
        struct timespec ts = {ns / 1000000000, ns % 1000000000};
        sys_5(SYS_ppoll, fds, count, ns < 0 ? NULL : &ts, NULL, 0);
        uint64_t pokes;
        if (fds[0].revents)
            sys_3(SYS_read, poke_fd, &pokes, sizeof pokes);
    }
    for (unsigned i = 0; i < n; i++)
        atomic_fetch_and(&hub_all[i]->listening, ~(LISTEN_MONITOR | LISTEN_WORK));
}

/* Until the next look. `steady`: so many looks in a row found hubs that switch. */
static int64_t monitor_tick(int steady)
{
    if (monitor_hurry > 0) {
        monitor_hurry--;
        return HURRY_TICK_NS;
    }
    return steady > STEADY_LOOKS && hub_settings.handoff > STEADY_TICK_NS ? STEADY_TICK_NS : TICK_NS;
}

static void *monitor_main(void *unused)
{
    (void)unused;
    native_begin();
    native_name("green-monitor");
    if (hub_settings.strict || hub_settings.handoff == 0)
        trim_alone();
    int idle = 0, most_idle = IDLE_TICKS, steady = 0, lonely = 0;
    int64_t idle_since = 0;
    for (;;) {
        int64_t now = clock_now();
        if (!carrier_spares() && now >= monitor_spare)
            carrier_spawn(NULL);
        unsigned n = atomic_load(&hub_count);
        bool asleep = true, watched = true, switches = true, alone = true;
        for (unsigned i = 0; i < n; i++) {
            enum verdict v = monitor_look(hub_all[i], now);
            asleep &= v == HUB_ASLEEP;
            watched &= v == HUB_ASLEEP || v == HUB_WATCHED;
            alone &= v == HUB_ASLEEP || v == HUB_WATCHED || v == HUB_ALONE;
            switches &= v == HUB_ASLEEP || v == HUB_SWITCHES || v == HUB_ALONE;
        }
        steady = switches ? steady + 1 : 0;
        lonely = alone ? lonely + !asleep : 0;
        if (watched)
            trim_tick(now);
        if (!asleep) {
            idle = 0;
            if (watched || lonely > ALONE_LOOKS) {
                monitor_watch(now, !watched);
                steady = lonely = 0;
            } else {
                monitor_nap(monitor_tick(steady));
            }
            continue;
        }
        idle_since = idle++ ? idle_since : now;
        if (idle < most_idle) {
            monitor_nap(IDLE_TICK_NS);
            continue;
        }
        if (monitor_sleep(now))
            continue;
        idle = 0;
        most_idle = clock_now() - idle_since > IDLE_TICKS * IDLE_TICK_NS ? 1 : IDLE_TICKS;
    }
    return NULL;
}

/* In a forked child the monitor's thread is gone. libc already takes its locks in earnest there,
 * and the next pthread_create starts a new one. */
static _Atomic bool monitor_runs;

void monitor_fork(void)
{
    monitor_runs = false;
    poke_fd = -1;
    atomic_store(&monitor_asleep, 0);
    sleeps_fork();
}

static long open_poke(void)
{
    return sys_2(SYS_eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
}

int monitor_start(void)
{
    if (atomic_load_explicit(&monitor_runs, memory_order_relaxed) ||
        atomic_exchange(&monitor_runs, true))
        return 0;
    barrier_start();
    if (poke_fd < 0)
        poke_fd = fd_private_open(open_poke);
    int error = poke_fd < 0 ? EAGAIN : native_thread(monitor_main, NULL, MONITOR_STACK);
    if (error)
        atomic_store(&monitor_runs, false); /* the next thread that is made tries again */
    return error;
}
