/* Calls that block: hand off, or offload. */
#include "blocking.h"

#include <errno.h>
#include <pthread.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "cancel.h"
#include "patch.h"
#include "signal.h"

struct blocking {
    long number;
    long args[6];
};

static long blocking_make(const struct blocking *b)
{
    return sys_6(b->number, b->args[0], b->args[1], b->args[2], b->args[3], b->args[4], b->args[5]);
}

/* Called through a pointer that the compiler cannot see through, or it finds out that nothing in
 * there throws. Cancellation does, from the system call itself, and the caller's cleanup has to run
 * then. */
static long (*volatile const blocking_enter)(const struct blocking *b) = blocking_make;

static long blocking_job(void *arg)
{
    return blocking_enter(arg);
}

/* What the helper thread uses lies on the caller's stack, which cancellation must not take away. */
static long blocking_sent(long (*fn)(void *arg), void *arg, int flags)
{
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    long r = offload(fn, arg, flags);
    int saved = errno;
    pthread_setcanceltype(type, NULL);
    errno = saved;
    return r;
}

/* A system call has no errno, and leaves the caller's alone. */
static long blocking_send(struct blocking *b, int flags)
{
    int saved = errno;
    if (flags & WAIT_BY_CANCEL)
        cancel_act();
    long r = blocking_sent(blocking_job, b, flags);
    if (r == -EINTR && flags & WAIT_BY_CANCEL)
        cancel_act();
    errno = saved;
    return r;
}

/* Kernel state of the calling OS thread (setfsuid and its kin) is not a helper thread's. */
static bool blocking_elsewhere(void)
{
    struct green *g = self_green();
    return hub_strict() && g && !g->bound;
}

/* What to put back when the call has returned or was unwound. */
struct blocking_scope {
    bool cancels;
    int type;
};

static void blocking_leave(struct blocking_scope *scope)
{
    if (scope->cancels)
        pthread_setcanceltype(scope->type, NULL);
    call_end();
}

long blocking_syscall(bool cancels, long number, long a, long b, long c, long d, long e, long f)
{
    struct blocking call = {number, {a, b, c, d, e, f}};
    if (blocking_elsewhere())
        return blocking_send(&call, WAIT_BY_SIGNAL | (cancels ? WAIT_BY_CANCEL : 0));
    call_begin();
    __attribute__((cleanup(blocking_leave))) struct blocking_scope scope = {.cancels = cancels};
    /* As libc does around such a call: the signal of a cancellation then acts in the kernel. */
    if (cancels)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &scope.type);
    long result = blocking_enter(&call);
    signal_of_call(result);
    return result;
}

long blocking_offload(long number, long a, long b, long c, long d, long e, long f)
{
    struct blocking call = {number, {a, b, c, d, e, f}};
    struct green *g = self_green();
    if (g && g->bound)
        return blocking_enter(&call);
    return blocking_send(&call, 0);
}

long blocking_call(long (*fn)(void *arg), void *arg)
{
    if (blocking_elsewhere())
        return blocking_sent(fn, arg, WAIT_BY_SIGNAL);
    call_begin();
    __attribute__((cleanup(blocking_leave), unused)) struct blocking_scope scope = {.cancels =
                                                                                        false};
    return fn(arg);
}
