/* Green threads and hubs as somebody from outside sees them: copies, taken in small portions.
 *
 * Any OS thread, with any thread pointer: nothing here uses thread-local storage. Nothing switches.
 */
#ifndef HUB_LOOK_H
#define HUB_LOOK_H

#include <sys/types.h>

#include "hub.h"

enum look_state { LOOK_PARKED, LOOK_RUNNABLE, LOOK_RUNNING, LOOK_DETACHED, LOOK_BOUND, LOOK_ENDED };

struct green_look {
    struct green *green; /* never unmapped, but may be another thread or zero: look_holds() */
    uint64_t id;
    char name[16];
    enum look_state state;
    pid_t os_thread; /* that runs it now; 0: none */
    pid_t tid;       /* by which libc's locks know it */
    enum wait_kind waits_for;
    const void *object;
    int64_t since;    /* of the wait, ns; 0: unknown */
    int64_t deadline; /* of the wait, or DEADLINE_NEVER */
    uint64_t switches;
    int64_t ran;      /* ns on a carrier; 0 unless it is counted (sched_watch) */
    unsigned hub;
};

/* Who goes through the list of green threads; each has its own place in it. */
enum look_reader { LOOK_REPORT, LOOK_WATCH, LOOK_TRACE, LOOK_FIND, LOOK_READERS };

/* The next n live green threads at most, oldest first; `first` begins anew. 0 at the end. Nobody is
 * kept waiting for more than microseconds. Where the lock of the list cannot be had within a few
 * milliseconds, goes on without it and says so in *locked (may be NULL). */
size_t green_slice(enum look_reader reader, struct green_look *out, size_t n, bool first,
                   bool *locked);

/* The live green thread with this id or, if id is 0, the one that libc's locks know by tid; false when
 * there is none. Walks the list as green_slice() does. */
bool green_find(uint64_t id, pid_t tid, struct green_look *out);

void look_at(struct green *g, struct green_look *out);

/* Is it still the same thread in the same stop? False when it ran since. */
bool look_holds(const struct green_look *l);

struct hub_look {
    pid_t os_thread;        /* of its carrier; 0: none */
    struct green *current;  /* that runs attached; NULL: the hub itself */
    uint64_t switches;
    bool asleep;            /* in epoll */
    size_t runnable;
    uint32_t timers;
    int64_t next_deadline;
    bool commands;          /* something was sent to it that it has not looked at */
};

/* Looked at on hot paths, where they cost a comparison: not by way of a table of addresses. */
#pragma GCC visibility push(hidden)

/* Called by the monitor when it has taken the hub from g, which had run since `since`. Set before. */
extern void (*hub_detached_hook)(struct green *g, int64_t since);

/* Called when set, as g begins to wait for fd (IO_ events) while `other` waits for the same. Inside the
 * runtime: must not switch. */
extern void (*io_shared_watch)(int fd, int events, struct green *g, struct green *other);

/* Called when set, at each switch, by who holds the hub: `left` (may be NULL) has stopped there, and
 * ended if `ended`; `next` (NULL: the hub itself) runs from now on. Inside the runtime, on any stack. */
extern void (*sched_watch)(unsigned hub, struct green *left, bool ended, struct green *next);
/* The same when g loses its hub and runs on. */
extern void (*sched_handoff_watch)(unsigned hub, struct green *g);

#pragma GCC visibility pop

/* False when there is no hub of this index. */
bool hub_look_at(unsigned index, struct hub_look *out);

#endif
