/* What the files of hub/ share; nothing outside includes it. */
#ifndef HUB_INTERNAL_H
#define HUB_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "../coro/lock.h"
#include "../coro/sys.h"
#include "hub.h"
#include "look.h"
#include "probe.h"

struct ev_loop;
struct io_watch;
struct resolver;

enum {
    HUBS_MAX = 256,
    SWITCH_BUDGET = 128, /* direct switches between two polls */
    SWITCH_BUDGET_MAX = 4096, /* where so many are runnable */
    /* Events taken in one poll: so few that what the kernel and io_prefetch() touch for them is still
     * in the caches when their threads run. */
    POLL_MOST = 256,
};

/* What is to be done for the context that was left, once its stack is no longer in use. */
enum after { AFTER_NOTHING, AFTER_PARK, AFTER_YIELD, AFTER_EXIT };

/* An operating-system thread of ours that can run a hub and its green threads.
 * Owned by its OS thread, but for `hub` and `wake`, by which whoever holds a hub gives it away. */
struct carrier {
    struct coro idle;            /* its idle context: native, or a coroutine on the main OS thread */
    pid_t tid;                   /* immutable */
    uintptr_t native_tp;         /* libc's own control block of this OS thread; immutable */
    uint64_t mask;               /* the kernel's signal mask of this OS thread */
    void *alt_stack;             /* the kernel's alternate signal stack of this OS thread; owner */
    struct green *post;          /* a green thread that stopped here to rejoin its hub */
    _Atomic(struct hub *) given; /* a hub to run; futex word beside it */
    _Atomic int wake;            /* futex: 1 when `given` was set or the carrier shall end */
    struct carrier *next;        /* list of spares; spare lock */
    struct carrier *all_next;    /* list of all carriers; spare lock */
    bool forked;                 /* made children: stays while they live; owner */
    struct green *dead;          /* a bound green thread that has ended here; owner */
    bool (*release)(struct green *);
};

struct timer {
    int64_t deadline;
    struct green *green;
};

/* A libev loop with its run queue and timers. "holder": touched only by the OS thread that holds
 * the hub (runs it or one of its green threads attached). */
struct hub {
    struct coro *coro;                   /* the hub's own context; immutable */
    struct green_tls *tls;               /* immutable */
    struct carrier *carrier;             /* who holds it; holder, and whoever hands it off */
    _Atomic(struct green *) current;     /* the attached green thread that runs; holder, monitor */
    _Atomic uint64_t switches;           /* holder writes; the monitor reads */
    struct green *left;                  /* the context just left; holder */
    enum after after;                    /* and what to do for it; holder */
    int budget;                          /* direct switches until the next poll; holder */
    struct green *run_head, *run_tail;   /* run queue; holder */
    size_t run_length;                   /* holder writes; others read as a hint */
    _Atomic(struct green *) remote;      /* pushed by any thread, newest first */
    _Atomic int listening;               /* somebody waits on the epoll descriptor; LISTEN_ bits */
    struct timer *timers;                /* 4-ary heap; holder */
    uint32_t timer_count, timer_room;    /* holder */
    int64_t now;                         /* when it last polled, ns; holder */
    _Atomic int64_t next_deadline;       /* of timers[0]; holder writes */
    struct ev_loop *loop;                /* holder */
    int epfd;                            /* immutable until fork */
    struct ev_async *async;              /* immutable */
    struct io_watch **watches;           /* chunks by descriptor number; holder */
    int rare_epfd;                       /* rare.c; 0: not needed yet; holder, others to close */
    struct ev_io *rare;                  /* holder */
    bool watchers_pending;               /* started, but not in the epoll set yet; holder */
    size_t awaited;                      /* waits that a poll can end; holder writes, others read as a hint */
    struct lock commands_lock;           /* guards commands */
    struct hub_command *commands;        /* from other threads */
    struct resolver *resolver;           /* NULL before the first name; holder */
    unsigned index;                      /* immutable */
    int64_t turn_ns;                     /* mean length of late turns, with several hubs; holder */
    int64_t busy_since;                  /* when it last woke from a sleep; holder */
    uint64_t measured_switches;          /* at the last poll; holder */
    bool (*release)(struct green *);     /* for AFTER_EXIT; holder */
    bool owned;                          /* by one green thread, see own.c; own.c's lock */
    uint64_t launch_turn;                /* the value of `switches` when one was last launched; holder */
    unsigned launches;                   /* how many were launched at that turn; holder */
    /* monitor only */
    uint64_t seen_switches;
    int64_t stuck_since;
    int64_t stuck_cpu;       /* CPU time of its OS thread at the last look */
    int64_t stuck_cpu_first; /* and when it was first seen at the same switch */
    pid_t waits_tid;         /* its OS thread, if that was seen to wait without being asleep, */
    int64_t waits_cpu;       /* its CPU time then, */
    int waits_state;         /* and what it did, an enum thread_state */
    /* figures; holder writes */
    uint64_t polls, parks, detaches, rejoins, handoffs;
};

/* Who waits: the hub itself; the monitor, for a switch or for work to be due; the monitor, for work only. */
enum { LISTEN_HUB = 1, LISTEN_MONITOR = 2, LISTEN_WORK = 4 };

/* A request to a hub from a thread that does not hold it. Freed by the hub. */
struct hub_command {
    void (*run)(struct hub *h, struct hub_command *c);
    struct hub_command *next;
    int fd, duplicate;
    uint32_t generation;
};

extern struct hub *hub_all[HUBS_MAX];
extern _Atomic unsigned hub_count;
extern unsigned hub_shared; /* those among which threads are distributed: the first; immutable but in a child */
extern struct hub_settings hub_settings; /* immutable after hub_start() */
extern bool hub_enter_fences; /* no membarrier: every entry needs a full fence */

/* ---- enter.c: the brackets round hub state ---- */

/* Returns the green thread that is attached from here on, or the foreign stand-in. */
struct green *enter_slow(void);
void leave_deferred(void);

static inline struct green *enter(void)
{
    atomic_store_explicit(&green_tls.in, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(hub_enter_fences, 0))
        atomic_thread_fence(memory_order_seq_cst);
    if (__builtin_expect(
            atomic_load_explicit(&green_tls.own, memory_order_relaxed) != OWN_ATTACHED, 0))
        return enter_slow();
    return green_tls.self;
}

static inline void leave(void)
{
    atomic_store_explicit(&green_tls.in, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&green_tls.deferred, memory_order_relaxed), 0))
        leave_deferred();
}

/* The hub that the calling thread holds, or NULL. Inside the runtime only. A request is answered
 * here: whoever came in without enter() (green_interrupt(), io_wake()) may have done so too late for
 * the monitor to see, and must know which of the two has the hub. */
static inline struct hub *hub_held(void)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    if (__builtin_expect(own == OWN_REQUESTED, 0) &&
        atomic_compare_exchange_strong(&green_tls.own, &own, OWN_ATTACHED))
        own = OWN_ATTACHED;
    if (own == OWN_ATTACHED)
        return green_tls.self->hub;
    return green_tls.hub;
}

/* ---- sched.c ---- */
bool sched_switch(struct green *self, enum after after); /* as sched_finish(), once self runs again */
bool sched_finish(struct hub *h); /* true: it was a full memory fence too */
void sched_watched(struct hub *h, struct green *next); /* see sched_watch in look.h */
void sched_resume(struct hub *h, struct coro *from, struct green *next);
void sched_push(struct hub *h, struct green *g);
void sched_heed(struct hub *h); /* after a push by who goes on: the monitor may wait for work to be due */
struct green *sched_pop(struct hub *h);
void sched_push_remote(struct hub *h, struct green *g);
void sched_drain_remote(struct hub *h);
void unpark(struct green *g);
void unpark_first(struct green *g); /* to the head of the run queue where this thread holds it */

/* What a resume of g reads: its stack and thread-local words. g itself should be in the cache. */
static inline void sched_prefetch(const struct green *g)
{
    const char *sp = g->coro.sp;
    for (int line = 0; line < 6; line++)
        __builtin_prefetch(sp + line * 64);
    __builtin_prefetch(g->tls);
}

/* Park until done(arg), the deadline, or an interrupt that `flags` (WAIT_BY_) let through or that
 * must run handlers: then PARK_INTERRUPTED. Inside the runtime; stays inside. */
enum park_result { PARK_DONE, PARK_TIMED_OUT, PARK_INTERRUPTED };
enum park_result park_until(struct green *g, bool (*done)(void *), void *arg, int64_t deadline);

/* After PARK_INTERRUPTED and once the caller is off every queue: leaves the runtime, runs what is
 * pending, enters again. Returns true when the wait shall end with *result, else it goes on. */
bool park_interrupted(struct green *g, int flags, enum wait_result *result);

/* The words in the control block at tp. */
struct green_tls *green_tls_at(uintptr_t tp);

/* ---- timer.c: holder of h only ---- */
void timer_add(struct hub *h, struct green *g, int64_t deadline);
void timer_remove(struct hub *h, struct green *g);
void timer_expire(struct hub *h, int64_t now); /* unparks all that are due */

/* ---- loop.c: the hub's own context and libev ---- */
/* A hub that no carrier runs yet; NULL when the kernel gives no memory or no descriptor. */
struct hub *hub_new(unsigned index);
/* Before any carrier ran it. */
void hub_delete(struct hub *h);
void hub_wake(struct hub *h); /* any thread: end its wait in epoll, or the monitor's */
void hub_command_send(struct hub *h, struct hub_command *c);
void hub_commands_run(struct hub *h);
extern size_t green_extra; /* bytes of what embeds struct green */

/* ---- deliver.c: the hub waits with a signal mask that lets in what any green thread takes ---- */
void deliver_idle_begin(struct hub *h);
void deliver_mask_added(uint64_t mask);   /* a green thread with this mask came to be */
void deliver_mask_removed(uint64_t mask); /* and ended, or changed it */
void deliver_mask(struct carrier *c, struct green *next); /* the kernel's becomes next's, who runs next */
void deliver_fork(uint64_t mask);
void deliver_alt_stack(struct carrier *c, const struct green *g); /* g NULL: none */
void deliver_alt_start(struct green *main_green);
extern _Atomic bool deliver_signals_came; /* on a hub's stack, and nobody has seen to them */
void deliver_hub_signals(struct hub *h); /* hub's context: signals that came on a hub's stack */

/* ---- fdtable.c ---- */
int fd_private_copy(int fd); /* a private duplicate of the description, or -1 */
void fd_fork(void);

/* ---- io.c ---- */
void io_fork(struct hub *h);
void io_closing(struct hub *h, int fd);
void io_rare_ready(struct hub *h, int fd, int events); /* of IO_RARE */

/* ---- rare.c: events that libev does not know; holder of h only ---- */
bool rare_arm(struct hub *h, int fd, int events); /* false: the kernel refuses */
void rare_disarm(struct hub *h, int fd);          /* any thread */
void rare_fork(struct hub *h);
struct epoll_event;
void io_prefetch(struct hub *h, const struct epoll_event *events, int n);

/* ---- wait.c ---- */
void wait_fork(void);

/* ---- carrier.c ---- */
int carrier_start(struct green *main_green);
struct carrier *carrier_take_spare(bool may_spawn);
void carrier_return_spare(struct carrier *c);
void carrier_give(struct carrier *c, struct hub *h);
_Noreturn void carrier_idle_entry(void *carrier);
bool carrier_spawn(struct hub *first);
void carrier_set_mask(struct carrier *c, uint64_t mask);
size_t carrier_spares(void);
_Noreturn void carrier_bury(struct green *g, bool (*release)(struct green *)); /* a bound thread ends */
int carrier_fork(struct green *self);
void carrier_forget(void);

/* ---- own.c ---- */
void own_computed(struct green *g, int64_t now); /* the monitor: g lost its hub as it computed */
void own_want(struct green *g); /* g, which has rejoined: gets one of its own for the next time if it should */
void own_end(struct green *g);
void own_fork(void);
unsigned hub_processors(void); /* that this process may run on */

/* ---- monitor.c ---- */
int monitor_start(void);
void monitor_wake_slow(void);
void monitor_poke(void); /* end its wait on the hubs' epoll descriptors */
void monitor_fork(void);
extern _Atomic int monitor_asleep;
static inline void monitor_wake(void)
{
    if (__builtin_expect(atomic_load_explicit(&monitor_asleep, memory_order_relaxed), 0))
        monitor_wake_slow();
}

/* ---- deliver.c ---- */

/* The kernel's form of a mask of all signals but 32, 33 and what hub_leave_open() named. */
extern uint64_t hub_mask_all;
#define MASK_ALL hub_mask_all

/* ---- native.c ---- */
void native_end(void);
void native_name(const char *name); /* of the calling OS thread, as ps shows it: 15 bytes at most */
unsigned native_threads(unsigned *peak);
void native_fork(void);

/* ---- offload.c ---- */
void offload_fork(void);
uint64_t offload_calls(void);

#endif
