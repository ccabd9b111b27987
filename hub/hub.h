/* What runs green threads, as the wrappers in preload/ see it.
 *
 * All calls here must be made on a green thread (self_attach() returned one) unless they say "any
 * thread". Those that may switch say so. None touches errno unless it says so.
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "green.h"
#include "self.h"

/* ---- Start and threads ------------------------------------------------------------------- */

/* What the configuration says about running green threads; copied by hub_start(). */
struct hub_settings {
    uint32_t carriers;        /* hubs, each on an OS thread; 0: one per processor */
    bool strict;              /* one carrier, no handoff */
    int64_t handoff;          /* ns of computing before the monitor takes the hub; 0: never */
    uint32_t max_carriers;    /* OS threads that may run green threads */
    uint32_t offload_threads; /* OS threads for offload() */
};

/* Start the runtime: the calling OS thread (libc's main thread) becomes the first carrier and its
 * flow of control the first green thread, kept in `main_green` (static memory of the caller, which
 * may embed it). `extra` is the size of what embeds struct green. Idempotent; any thread, but only
 * the main thread ever starts it. Returns 0 or an errno. */
int hub_start(struct green *main_green, size_t extra, const struct hub_settings *settings);
bool hub_started(void);
bool hub_strict(void); /* one carrier and no handoff */

/* Make a green thread; entry(g) runs on it at its first turn and must end in green_end().
 * Returned not yet runnable, so that the caller can fill what embeds it (struct green is its first
 * member); green_launch() starts it. NULL with errno set (EAGAIN) on failure. */
struct green *green_new(const struct coro_attr *attr, void (*entry)(struct green *g));
void green_launch(struct green *g);

/* Before another green thread is made: who launches many without ever waiting lets those run that it
 * has launched, as they would natively, or a server that accepts from a full queue has all of its
 * connections' threads at once. Not after the launch: a program may rely, wrongly, on a new thread to
 * begin somewhat later. May switch. */
void green_launch_pace(void);

/* End the calling green thread; its memory may be reused as soon as release(g) (called by the hub
 * after the switch, on the hub's side of things; may be NULL) returned true, else when somebody
 * calls green_release(). Does not return. */
_Noreturn void green_end(bool (*release)(struct green *g));
void green_release(struct green *g);

/* In the child of a fork() that a green thread made, before anything else runs there: the caller is
 * the only green thread, its OS thread the only carrier. Makes a new loop; the parent's descriptors
 * of ours are closed. The monitor starts again with the next green_launch(). */
void hub_after_fork(void);

/* The calling green thread has made a child: its OS thread must live as long as the process may,
 * because a child's PR_SET_PDEATHSIG counts that thread's end. */
void green_forked(void);

/* The calling thread as something that can park: the green thread, or a stand-in kept in TLS for
 * a foreign OS thread. Any thread but the hub. */
struct green *self_parker(void);

/* ---- Time -------------------------------------------------------------------------------- */

int64_t clock_now(void);                              /* CLOCK_MONOTONIC, ns */
int64_t deadline_after(int64_t ns);                   /* now + ns, saturating at DEADLINE_NEVER */
int64_t deadline_from(clockid_t clock, const struct timespec *abs); /* absolute on that clock, as of
                                                         now, into monotonic; past if negative */
int64_t timespec_ns(const struct timespec *ts);       /* saturating */
static inline int timespec_valid(const struct timespec *ts)
{
    return ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000L;
}

/* ---- Waiting on an address --------------------------------------------------------------- */

enum wait_result {
    WAIT_WOKEN = 0,
    WAIT_NOT_NEEDED, /* `ready` said so */
    WAIT_TIMED_OUT,
    WAIT_INTERRUPTED, /* a signal handler without SA_RESTART ran (only with WAIT_BY_SIGNAL) */
    WAIT_RESTARTED,   /* handlers ran, all with SA_RESTART (only with WAIT_BY_SIGNAL) */
    WAIT_CANCELLED,   /* cancellation is pending and enabled (only with WAIT_BY_CANCEL) */
};

enum {
    WAIT_BY_SIGNAL = 1, /* end the wait when a signal handler ran; else handlers run and it goes on */
    WAIT_BY_CANCEL = 2, /* end the wait when the thread is cancelled */
    WAIT_STARVED = 4,   /* lost a lock before: at the next wake_lock() it runs at once */
    WAIT_HEEDS = 8,     /* WAIT_INTERRUPTED where handlers ran and a wake may have come by meanwhile */
};

/* Called under the queue's lock, must not block or switch: true when there is no need to wait. */
typedef bool wait_ready(void *arg);

/* Park until a wake on (kind, key) whose bits meet `bits`, the deadline, or as `flags` say.
 * FIFO. `ready` (may be NULL) is asked after the caller is on the queue, so that no wake that
 * follows a change which `ready` can see is lost. Any thread (a foreign one sleeps on a futex).
 * May switch. Handlers of signals run inside. */
enum wait_result wait_on(enum wait_kind kind, const void *key, uint32_t bits, wait_ready *ready,
                         void *arg, int64_t deadline, int flags);

/* Wake up to `max` waiters in FIFO order; returns how many. Any thread; switches only where a thread
 * that was asked to yield, or lost its hub, enters the runtime; may be
 * called in a signal handler (handlers never run inside the runtime). A queue that is empty costs
 * a hash and a load; the caller's change must be visible before (see wait_fence()). */
size_t wake(enum wait_kind kind, const void *key, size_t max, uint32_t bits);

/* Wake one waiter for a lock just released; a starved one is switched to. May switch. */
void wake_lock(enum wait_kind kind, const void *key);

/* wait_on() for who must give something up once it is on the queue (a condition's mutex): release()
 * is called then, once, inside the runtime with no lock held; it may wake() others but must not
 * switch. If it returns nonzero the caller leaves the queue again, a wake that it got meanwhile goes
 * to the next, and the result is WAIT_NOT_NEEDED. Any thread. May switch. */
enum wait_result wait_release(enum wait_kind kind, const void *key, int (*release)(void *arg),
                              void *arg, int64_t deadline, int flags);

/* Wake `wake_max` waiters of `from`, then move up to `move_max` others to the queue of `to` (same
 * kind) in order, if ready(arg) (may be NULL, under the locks of both queues) says true; else
 * return -1. *moved (may be NULL) gets the number moved; returns the number woken. Any thread. */
long wait_requeue(enum wait_kind kind, const void *from, size_t wake_max, const void *to,
                  size_t move_max, wait_ready *ready, void *arg, size_t *moved);

#define WAIT_ANY_BITS UINT32_MAX

/* Between a real unlock (or any store that `ready` reads) and wake(): orders the two. A locked
 * instruction of libc's does on x86-64. */
static inline void wait_fence(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* ---- Scheduling -------------------------------------------------------------------------- */

/* Let others run; the caller goes to the tail of the run queue. The hub polls soon. May switch. */
void green_yield(void);

/* Note a non-blocking call that failed (EAGAIN, EBUSY, poll of 0): after a few in a row it yields,
 * so that a loop around it cannot starve the others. May switch. */
void green_futile(void);

/* Sleep until the deadline: WAIT_TIMED_OUT, or as flags say. May switch. */
enum wait_result sleep_until(int64_t deadline, int flags);

/* Interrupt g for what `why` (enum interrupt) says: it leaves its wait if the wait's flags allow,
 * and looks at its pending work. Any thread, async-signal-safe outside the runtime. */
void green_interrupt(struct green *g, uint32_t why);

/* Runs pending signal handlers of the calling green thread, on its own stack, outside the runtime;
 * may also act on asynchronous cancellation. Set once at start by preload/. Called after each wait
 * that was interrupted and when a thread with interrupts leaves the runtime. Returns what ran. */
enum { HANDLERS_RAN = 1, HANDLERS_ALL_RESTART = 2 };
extern int (*hub_interrupt_hook)(struct green *g, uint32_t why);

/* ---- Real calls that block --------------------------------------------------------------- */

/* The real call that follows is known to block: give the hub to another carrier now and go on
 * alone; call_end() rejoins. Nests. Under --strict the pair does nothing: the call blocks all.
 * errno is kept. May switch in call_end(). */
void call_begin(void);
void call_end(void);

/* Run fn(arg) on a native helper thread and park till it is done; returns what fn returned with
 * errno as fn left it. Small stack and another thread pointer there: fn must use nothing
 * thread-local of the caller. Signal handlers run meanwhile; with WAIT_BY_SIGNAL they end the system
 * call that fn is in, or have it go on, as they would natively, and with WAIT_BY_CANCEL cancellation
 * ends it (EINTR): it is the caller's to act on. Asynchronous cancellation must be off. May switch. */
long offload(long (*fn)(void *arg), void *arg, int flags);

/* The calling green thread is about to jump off: return once none of its calls is on a helper thread any
 * more; those that signals end are ended. May switch. */
void offload_abandon(void);

/* How a helper thread is interrupted: a signal with SA_RESTART to this OS thread, whose handler calls
 * offload_prodded() with its context. Set once at start. Inside the runtime; must not switch. */
extern void (*offload_prod_hook)(int tid);

/* The signal has come; it must be blocked until its handler returns. Nothing happens where the OS thread
 * is no helper thread that makes a call. Async-signal-safe. */
void offload_prodded(void *context);

/* Keep the calling green thread on an OS thread of its own for life (DESIGN 3). May switch. */
void green_pin(void);

/* libc's own control block of the OS thread that runs here, whatever context is on it: libc's thread
 * list knows no other (FACTS: setuid). Any thread, async-signal-safe, at any instant of a switch. */
uintptr_t hub_native_tp(void);

/* Send `sig` to the OS thread that runs g at this moment, if it is another than the caller's; false
 * when g runs nowhere else. Another may run there when it arrives: the handler must look. `info`
 * (may be NULL) is what the handler gets; its si_code must be negative. Any thread;
 * async-signal-safe. */
bool green_kick(struct green *g, int sig, void *info);

/* Give the calling green thread, and the OS thread that runs it, another signal mask (the kernel's
 * form). Keeps `mask` of the carrier right. Never switches; async-signal-safe with `in` set. */
void green_set_mask(struct green *g, uint64_t mask);

/* The same books without the system call: the kernel has set the mask, or will when the handler's
 * frame returns. */
void green_mask_is(struct green *g, uint64_t mask);

/* Return once no hub polls with a mask that lets in a signal which every green thread blocks now: what
 * is sent to the process from here on stays pending in the kernel. Takes as long as waking them does;
 * never switches. */
void green_mask_settle(void);

/* From now on no OS thread of the runtime's blocks this signal, whatever green threads' masks say.
 * Called at start. */
void hub_leave_open(int sig);

/* Tell the kernel of the running green thread's alternate stack now (alt_stack, alt_size). */
void green_alt_stack_changed(struct green *g);

/* A handler begins on the calling thread's alternate stack, and the kernel has taken it away; or it
 * returns, and the kernel will give it back. */
void green_alt_stack_used(struct green *g, bool used);

/* A signal came on a hub's own stack: from its handler. The hub calls hub_signal_hook soon, on its
 * own context, where no lock is held and nothing may block. Async-signal-safe. */
void hub_signal(void);

/* On a hub's context: let the kernel's mask be what every green thread blocks now. */
void hub_mask_refresh(void);
extern void (*hub_signal_hook)(void);

/* Signals came to a green thread that was about to end and will run no handler: they are the
 * process's again. Inside the runtime, after its last switch. Never switches. */
extern void (*hub_orphans_hook)(struct green *g);

/* An operating-system thread of libgreen's own, detached, with every signal blocked but 32 and 33,
 * which glibc's setuid needs. `stack` comes on top of the program's static TLS. Calls the
 * program's malloc: outside the runtime, or on the monitor. Returns 0 or an errno. */
int native_thread(void *(*fn)(void *), void *arg, size_t stack);

/* What each of them calls first: it is counted, and calls of libc's are the real ones there. */
void native_begin(void);

/* How many OS threads are the runtime's, the main one counted. */
unsigned hub_os_threads(void);

/* ---- Descriptors ------------------------------------------------------------------------- */

enum {
    IO_READ = 1,
    IO_WRITE = 2,
    /* io_wait_any() alone: */
    IO_URGENT = 4,  /* POLLPRI */
    IO_RDHUP = 8,   /* POLLRDHUP */
    IO_HANGUP = 16, /* POLLERR or POLLHUP, which end every wait, and nothing else */
    IO_RARE = IO_URGENT | IO_RDHUP | IO_HANGUP,
};

/* Park until fd is ready for `events` (IO_READ, IO_WRITE or both), or the deadline.
 * Exclusive: several waiters of one descriptor are woken one at a time, in order.
 * Returns WAIT_WOKEN (also on error or hang-up, as poll(2) reports them, and when the descriptor
 * cannot be watched: try the call), WAIT_TIMED_OUT, WAIT_INTERRUPTED, WAIT_RESTARTED,
 * WAIT_CANCELLED. `*fd` is where to go on: when the program closed the descriptor meanwhile, a
 * private duplicate that is closed by io_wait_done(). May switch. */
enum wait_result io_wait(int *fd, int events, int64_t deadline, int flags);

/* After the last use of a descriptor that io_wait() replaced: io_wait_done(fd, original). */
void io_wait_done(int fd, int original);

/* Let all who wait for fd try their calls again: for changes that the kernel wakes sleepers for, but
 * that readiness does not show. Any thread; never switches. */
void io_wake(int fd);

/* One descriptor of a poll set. */
struct io_poll {
    int fd;
    int events; /* IO_... */
};

/* Park until any of the n descriptors is ready; shared, not exclusive. n <= IO_POLL_MAX.
 * Same results as io_wait(). The caller asks the kernel (a real poll of 0) for what is ready. */
enum { IO_POLL_MAX = 64 };
enum wait_result io_wait_any(const struct io_poll *set, size_t n, int64_t deadline, int flags);

/* Bookkeeping of descriptor numbers. Any thread; before the runtime starts as well. */
enum fd_kind { FD_UNKNOWN, FD_FILE, FD_PIPE, FD_SOCKET, FD_TTY, FD_EPOLL, FD_EVENT, FD_SIGNAL, FD_OTHER };
enum {
    FD_STREAM = 1,   /* a stream socket or pipe: a short read means that it is drained */
    FD_OURS = 2,     /* the open file description is this process's and this number's alone */
    FD_DRAINED = 4,  /* the last read came back short: wait before the next try */
    FD_NONBLOCK = 8, /* the program set O_NONBLOCK (exact with FD_OURS, else F_GETFL decides) */
    FD_READ_READY = 16,  /* no read without blocking: it must be ready before the read */
    FD_WRITE_READY = 32, /* the same for a write */
    FD_PRIVATE = 64,     /* libgreen's own */
};
/* What may be set on a socket; true only with FD_OURS, else the kernel must be asked. */
enum {
    FD_RCVTIMEO = 1,
    FD_SNDTIMEO = 2,
    FD_RCVLOWAT = 4,
    FD_LINGER = 8,
    FD_RCVNOW = 16, /* a negative time-out: over at once; the kernel reports it as none */
    FD_SNDNOW = 32,
};
struct fd_entry {
    _Atomic uint32_t generation; /* changes when the number gets another description */
    _Atomic uint8_t kind;        /* enum fd_kind */
    _Atomic uint8_t flags;       /* FD_STREAM ... */
    _Atomic uint8_t options;     /* FD_RCVTIMEO ... */
    _Atomic uint32_t users;      /* of a private duplicate: io_wait() calls that go on with it */
};
enum { FD_CHUNK = 4096, FD_CHUNKS = 1024 };
/* By number; chunks are mapped when first needed, and stay. fd_entry() alone uses the two. */
extern struct fd_entry *_Atomic fd_chunks[FD_CHUNKS];
struct fd_entry *fd_entry_new(int fd);
/* The entry of a descriptor number; NULL when fd < 0 or beyond what can be. Any thread. */
static inline struct fd_entry *fd_entry(int fd)
{
    unsigned i = (unsigned)fd / FD_CHUNK; /* of a negative number: beyond the last */
    struct fd_entry *chunk =
        i < FD_CHUNKS ? atomic_load_explicit(&fd_chunks[i], memory_order_acquire) : NULL;
    return __builtin_expect(chunk != NULL, 1) ? &chunk[(unsigned)fd % FD_CHUNK] : fd_entry_new(fd);
}
/* A wrapper made (socket, accept, pipe, open, dup, ...) or saw the number for the first time. */
void fd_opened(int fd, enum fd_kind kind, int flags);
/* The highest number that fd_opened() was told of, libgreen's own left out; -1: none. Any thread. */
int fd_highest(void);
/* Before a real close of the number or a dup2 over it: watchers are taken off, waiters keep the
 * description (a private duplicate). Never switches. Keeps errno. */
void fd_closing(int fd);
/* The same for every number from first to last; libgreen's own are left out. */
void fd_closing_range(unsigned first, unsigned last);
/* After fork or passing descriptors on: nothing is ours alone any more. */
void fd_shared_all(void);
void fd_shared(int fd);
/* Is it one of libgreen's own descriptors (hidden from close, closefrom, dup2)? Any thread. */
bool fd_is_private(int fd);
/* Move a descriptor of ours out of the program's way: close-on-exec, high number, private. Returns
 * the new number and closes the old one; on failure returns fd itself. */
int fd_make_private(int fd);
/* A new descriptor of ours: open() makes it, close-on-exec, by a system call, and may be called twice:
 * a program that has used up all that it may have is no obstacle while the hard limit leaves room.
 * Returns the number or -errno. Any thread. */
int fd_private_open(long (*open)(void));
void fd_private_closed(int fd);
/* The lowest of libgreen's own numbers that is >= from; -1 when there is none. Any thread. */
int fd_private_next(int from);

/* ---- Figures ----------------------------------------------------------------------------- */

struct hub_stats {
    uint64_t created, alive, peak, switches, parks, handoffs, detaches, rejoins, offloads, polls;
    uint32_t os_threads, os_threads_peak, hubs;
};
void hub_stats(struct hub_stats *out);

#endif
