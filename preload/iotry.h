/* How every call on a descriptor waits: it is tried without blocking; where it would block, the
 * green thread parks until the descriptor is ready, and it is tried again.
 *
 * A wrapper fills a struct iotry (embedded first in a struct with the call's own arguments) and
 * says how one attempt is made. Time-outs, O_NONBLOCK, signals, cancellation, partial results and a
 * descriptor that is closed meanwhile are dealt with here.
 *
 * Results are the kernel's until the last moment: negative errno on failure. errno is written only
 * when the call as a whole fails.
 */
#ifndef PRELOAD_IOTRY_H
#define PRELOAD_IOTRY_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "coro/sys.h"
#include "cancel.h"
#include "hub/hub.h"

#pragma GCC visibility push(hidden)

struct iotry;

/* One attempt on `fd` (the program's number, or the duplicate that is left of it) to do what is not
 * `done` yet. `now`: must not block, -EAGAIN where it would; else it blocks as the call does, by
 * blocking_syscall(), because readiness has turned out not to mean that it goes through.
 * Returns what it did, in the unit of `want`; sets t->asked to what it had asked for. */
typedef long iotry_attempt(struct iotry *t, int fd, bool now);

enum {
    IOTRY_DONTWAIT = 1,   /* the caller asked not to wait, this once */
    IOTRY_SOCKET = 2,     /* SO_RCVTIMEO and SO_SNDTIMEO count */
    IOTRY_NO_RESTART = 4, /* EINTR after any handler, SA_RESTART or not (signal(7)) */
    IOTRY_DRAINS = 8,     /* a short result means that nothing is left to read */
    IOTRY_NO_CANCEL = 16, /* not a cancellation point */
    IOTRY_BLOCKS = 32,    /* O_NONBLOCK is known not to be set, or does not matter */
    IOTRY_SENDS = 64,     /* a socket's pending error ends the wait, and is the result */
};

/* The call is as large as arrays in the program's memory say. They are read once the kernel has
 * found them readable: the attempt sets `want` when it has not failed. */
#define IOTRY_UNKNOWN SIZE_MAX

/* Owned by the calling green thread. */
struct iotry {
    iotry_attempt *attempt;
    int fd;         /* the program's number */
    uint8_t events; /* what to wait for: IO_READ or IO_WRITE */
    uint8_t flags;  /* IOTRY_... */
    bool waited;    /* this call has parked */
    int timeout;    /* result when the time is over: -EAGAIN, ... or 0 */
    size_t want;    /* the call is complete when so much is done; or IOTRY_UNKNOWN */
    size_t done;
    size_t asked;     /* by the last attempt */
    int64_t deadline; /* DEADLINE_NEVER unless the call has its own */
};

/* What is known about a descriptor number; classified (with one fstat) if it is new. NULL when the
 * number cannot be. Any thread; keeps errno. */
struct fd_entry *iotry_known(int fd);

/* What was known turned out wrong, because the number changed hands inside libc. Any thread. */
void iotry_forget(struct fd_entry *e);

/* Did the program set O_NONBLOCK? */
bool iotry_nonblocking(const struct fd_entry *e, int fd);

/* Must the kernel itself wait for data? SO_RCVLOWAT counts only for calls that block. */
bool iotry_low_water(const struct fd_entry *e, int fd);

/* poll(2) of one descriptor, now: the events that are there, 0 when there are none. */
int iotry_poll(int fd, short events);

/* The most that the kernel reads or writes in one call, whatever is asked for. */
enum { IOTRY_MOST = 0x7ffff000 };

/* The end of every wrapper: the kernel's result as libc's. */
static inline ssize_t iotry_result(long r)
{
    if (__builtin_expect(r < 0, 0)) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

static inline unsigned iotry_flags(const struct fd_entry *e)
{
    return atomic_load_explicit(&e->flags, memory_order_relaxed);
}

static inline enum fd_kind iotry_kind(const struct fd_entry *e)
{
    return (enum fd_kind)atomic_load_explicit(&e->kind, memory_order_relaxed);
}

/* ---- The call ---- */

/* Keeps FD_DRAINED as the result of a read says. */
static inline void iotry_drained(const struct iotry *t, struct fd_entry *e, unsigned flags, long r)
{
    enum { KNOWN = FD_STREAM | FD_OURS };
    if (!(t->flags & IOTRY_DRAINS) || (flags & (KNOWN | FD_NONBLOCK)) != KNOWN)
        return;
    bool drained = r > 0 && (size_t)r < t->asked;
    if (drained && !(flags & FD_DRAINED))
        atomic_fetch_or_explicit(&e->flags, FD_DRAINED, memory_order_relaxed);
    else if (!drained && flags & FD_DRAINED)
        atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_DRAINED, memory_order_relaxed);
}

/* Calls that needed no wait. Owned by the calling thread. */
extern __thread unsigned iotry_run __attribute__((tls_model("initial-exec")));

/* A thread whose calls always succeed at once still lets others run. May switch. */
static inline void iotry_ran(void)
{
    enum { RUN = 64 };
    if (__builtin_expect(++iotry_run % RUN == 0, 0))
        green_yield();
}

/* What iotry() does when the call has to wait, and when its first attempt, which gave `r`, failed or
 * was not all of it. */
long iotry_wait(struct iotry *t, struct fd_entry *e);
long iotry_more(struct iotry *t, struct fd_entry *e, long r);

/* Make the call; `e` is the descriptor's entry, not NULL. Returns what was done, or negative errno
 * when nothing was. A cancellation point unless the flags say otherwise. May switch.
 *
 * Here and not in iotry.c so that wrapper, attempt and this become one function where nothing waits:
 * the kernel leaves a processor's memory of return addresses spoilt, so each return after a system
 * call is a mispredicted one. */
static inline __attribute__((always_inline)) long iotry(struct iotry *t, struct fd_entry *e)
{
    if (__builtin_expect(cancel_pending(), 0) && !(t->flags & IOTRY_NO_CANCEL))
        cancel_act();
    unsigned flags = iotry_flags(e);
    if (flags & FD_DRAINED && t->events == IO_READ && !(t->flags & IOTRY_DONTWAIT))
        return iotry_wait(t, e);
    long r = t->attempt(t, t->fd, true);
    if (r > 0)
        t->done += (size_t)r;
    if (__builtin_expect(r < 0 || (r > 0 && t->done < t->want), 0))
        return iotry_more(t, e, r);
    iotry_drained(t, e, flags, r);
    iotry_ran();
    return t->done ? (long)t->done : r;
}

#pragma GCC visibility pop

#endif
