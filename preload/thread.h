/* The program's threads: what a pthread_t stands for beyond libc's control block, whose address it
 * is.
 */
#ifndef PRELOAD_THREAD_H
#define PRELOAD_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hub/hub.h"

#pragma GCC visibility push(hidden)

/* thread.life: flags, and above them the struct green of who joins it, or 0. */
enum {
    THREAD_ENDED = 1,    /* runs no more; the result is there */
    THREAD_DETACHED = 2, /* nobody will join it */
    THREAD_GONE = 4,     /* joined, or ended while detached: its memory may be reused */
    THREAD_FLAGS = 7,
};

/* What the scheduling calls were told about a thread; nothing of it is the kernel's, unless the
 * thread is bound (sched.c). Written by whoever calls, under no lock: a word is as good as another.
 */
struct thread_sched {
    bool has_policy; /* else: what the process's OS threads have */
    bool has_cpus;
    int policy; /* SCHED_..., with SCHED_RESET_ON_FORK */
    int priority;
    cpu_set_t cpus;
};

/* Lies in the memory of its green thread, which stays readable for ever: see hub/trim.c. `sched`,
 * `life` and `nice` are for any thread; all else is set before it runs and then its own. */
struct thread {
    struct green green; /* first: a struct green of ours is a struct thread */
    void *(*start)(void *);
    void *arg;
    void *result;
    _Atomic uintptr_t life;
    uint32_t epoch;   /* thread_epoch when it was made */
    bool c11;         /* start is a thrd_start_t */
    bool main;        /* runs main() */
    bool kept;        /* its memory is never reused: the main thread, one that forked */
    bool started;     /* start has been called */
    bool destroyed;   /* destructors have run */
    pid_t os_tid;     /* of a bound thread: its OS thread; else 0 */
    _Atomic int nice; /* wanted by another thread's setpriority(); THREAD_NO_NICE: nothing */
    struct thread_sched sched;
};

enum { THREAD_NO_NICE = 1 << 20 };

/* How many forks lie between the first process and this one. Threads of another epoch ended when
 * fork() left them behind. Written by thread_after_fork() only. */
extern uint32_t thread_epoch;

/* Is it a thread of ours, or the stand-in of a foreign one? A bound thread counts as foreign. */
static inline bool thread_is_green(const struct green *g)
{
    return g && (!g->foreign || g->bound);
}

/* The thread of ours that runs here, bound ones too; NULL on foreign threads, on the hub and before
 * the runtime has started. Async-signal-safe. */
static inline struct thread *thread_self(void)
{
    return thread_is_green(green_tls.self) ? (struct thread *)green_tls.self : NULL;
}

/* The green thread of a pthread_t that pthread_create() or pthread_self() gave, ended or not (long
 * ago: one that is gone, without a stack or a control block); NULL when it is an OS thread that is not
 * ours (every one before the runtime has started). Any thread. */
struct thread *thread_of(pthread_t id);

/* The living green thread that gettid() names `tid` on; NULL when there is none. The main thread
 * has the process's id. Takes the lock of the list of threads; any thread, not async-signal-safe.
 */
struct thread *thread_of_tid(pid_t tid);

static inline pthread_t thread_id(const struct thread *t)
{
    return (pthread_t)t->green.coro.tp;
}

/* Has it not ended yet (in this process)? */
static inline bool thread_lives(const struct thread *t)
{
    return t->epoch == thread_epoch &&
           !(atomic_load_explicit(&t->life, memory_order_acquire) & THREAD_ENDED);
}

/* main returned by pthread_exit(value), or was cancelled, in a process whose runtime has started:
 * ends the main green thread. Does not return. */
_Noreturn void thread_main_exited(void *value);

/* The main thread while it waits for something or for its turn; else NULL. Any thread;
 * async-signal-safe. */
struct green *thread_main_waiting(void);

/* In the child of a fork() that a green thread made, after hub_after_fork(): the caller is the only
 * thread. */
void thread_after_fork(void);

#pragma GCC visibility pop

#endif
