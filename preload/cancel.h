/* Cancellation of the calling thread, for every wrapper that is a cancellation point. */
#ifndef PRELOAD_CANCEL_H
#define PRELOAD_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "coro/libc.h"

#pragma GCC visibility push(hidden)

/* Has pthread_cancel() ever been called? Until then no call needs to look into its thread's control
 * block, which would be two more cache lines. Set once, by any thread. */
extern _Atomic bool cancel_used;

/* Was the calling thread cancelled, and does it let itself be? Async-signal-safe. */
static inline bool cancel_pending(void)
{
    return __builtin_expect(atomic_load_explicit(&cancel_used, memory_order_relaxed), 0) &&
           libc_cancel_pending((uintptr_t)__builtin_thread_pointer());
}

/* pthread_testcancel(): does not return when cancellation is pending and enabled, but unwinds. What
 * a wrapper calls first (if it is a cancellation point), and after WAIT_CANCELLED once it has put
 * everything back. */
void cancel_act(void);

/* For the hook that runs on a thread's own stack after an interrupt: acts when the thread is
 * cancelled and its cancellation type is asynchronous. Outside the runtime. */
void cancel_interrupted(void);

/* offload_prod_hook: the signal of cancellation serves for that too. */
void cancel_prod(int tid);

#pragma GCC visibility pop

#endif
