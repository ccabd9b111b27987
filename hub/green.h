/* A green thread as the scheduler sees it. */
#ifndef HUB_GREEN_H
#define HUB_GREEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../coro/coro.h"
#include "self.h"

struct hub;
struct carrier;
struct job;           /* offload.c */
struct signal_record; /* preload/signal.h */

enum green_state {
    GREEN_RUNNING,  /* on a carrier, or detached */
    GREEN_PARKED,   /* waits for unpark or its deadline */
    GREEN_RUNNABLE, /* on a run queue or a remote queue */
    GREEN_NOTIFIED, /* running, and unparked before it parked */
    GREEN_DEAD,     /* finished; its memory waits to be reused */
};

/* What a parked green thread waits for: written by itself before it parks, read by dumps, gdb and
 * the deadlock detector. */
enum wait_kind {
    WAIT_NOTHING,
    WAIT_MUTEX,
    WAIT_COND,
    WAIT_RWLOCK,
    WAIT_BARRIER,
    WAIT_SEM,
    WAIT_ONCE,
    WAIT_FUTEX,
    WAIT_JOIN,
    WAIT_FILE, /* a FILE's lock */
    WAIT_SLEEP,
    WAIT_FD,
    WAIT_POLL,
    WAIT_SIGNALS, /* sigwait, pause, sigsuspend */
    WAIT_CHILD,
    WAIT_OFFLOAD,
    WAIT_DNS,
    WAIT_KINDS
};

#define DEADLINE_NEVER INT64_MAX

/* Why green_interrupt() was called. */
enum interrupt { INTERRUPT_SIGNAL = 1, INTERRUPT_CANCEL = 2 };

/* "hub": touched only by whoever holds the green thread's hub. "self": by the green thread.
 * "any": atomic, from any thread. */
struct green {
    /* What each switch touches, in two cache lines. */
    struct coro coro;
    struct green_tls *tls;       /* in its control block; immutable */
    struct hub *hub;             /* self and hub; changes only while not parked on it */
    struct carrier *carrier;     /* the OS thread that runs it; hub, at each resume */
    struct green *next;          /* run queue or remote queue link; hub */
    _Atomic int state;           /* enum green_state; any */
    _Atomic uint32_t interrupts; /* enum interrupt bits; set by any, cleared by self */
    uint64_t mask;               /* kernel form of its signal mask, bit n-1 for signal n; self */
    void *alt_stack;             /* its alternate stack, NULL: none, or in use; self */
    uint64_t switches;           /* times it was resumed; hub */
    uint32_t timer_slot;         /* position in the hub's heap + 1, 0 when not in it; hub */
    bool timed_out;              /* the deadline woke it; hub */
    bool foreign;                /* a stand-in for an OS thread not ours: parks on a futex */
    bool pinned;                 /* has something linked into its hub: not moved; hub */
    uint8_t futile;              /* failed non-blocking calls since it last waited; self */
    /* For who looks: what it waits for and since when. Self, before parking. */
    enum wait_kind waits_for;
    uint16_t calls;              /* nesting of call_begin(); self */
    bool bound;                  /* keeps its OS thread for life; self */
    const void *wait_object;     /* lock address, or descriptor number as a pointer */
    int64_t wait_since;          /* ns, as of the hub's last poll before */

    int64_t deadline;            /* absolute CLOCK_MONOTONIC ns; hub, while in the heap */
    uint64_t id;                 /* 1 is main; immutable */
    uint64_t woken_at;           /* while there is a sched_watch (look.h): ticks (tick.h), when it was
                                    last woken; who wakes */
    int64_t ran, ran_from;       /* for sched_watch alone: ns of running, since when; hub */
    void (*entry)(struct green *g); /* what it runs; immutable */
    const void *again_key;       /* its last wait on an address timed out: on which; self */
    int64_t computed_since;      /* since when `computed` counts, ns; monitor */
    struct hub *own;             /* of its own, where it rejoins from now on, or NULL; self */
    uint8_t computed;            /* how often its hub was taken while it computed; monitor, see own.c */
    int64_t again_since;         /* and since when it has waited there without a wake, ns; self */

    /* Signals; see deliver.c and preload/signal.c. */
    _Atomic uint64_t pending;    /* signals sent to this thread alone, bit n-1; any */
    _Atomic uint64_t bare;       /* those of them that there was no record for; any */
    struct signal_record *_Atomic arrived; /* their siginfo, newest first; any */
    struct signal_record *queued;          /* the same in order, once looked at; self */
    struct signal_record *resent; /* what it has sent to itself, until it came; self */
    struct job *job;             /* its call on a helper thread; self */
    uint64_t wait_signals;       /* what sigwait() waits for; self, read by senders */
    uint32_t handlers_ran;       /* signal handlers that were begun on it; self */
    uint32_t swapped_at;         /* handlers_ran when its mask was swapped for a wait; self */
    bool mask_swapped;           /* any handler ends its wait, also one that ran before it; self */
    void *alt_in_use;            /* the alternate stack while a handler runs on it; self */
    size_t alt_size;
    int alt_flags;

    /* All green threads: guarded by the list's lock (green_list_lock()). */
    struct green *all_next, *all_prev;
    char name[16];
};

/* Visit every live green thread under the list's lock: f must not switch nor create threads. */
void green_each(void (*f)(struct green *g, void *data), void *data);
size_t green_count(void);

#endif
