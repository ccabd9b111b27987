/* System calls that block where there is nothing to wait for beforehand: no descriptor becomes
 * ready, or readiness does not mean that the call goes through.
 */
#ifndef PRELOAD_BLOCKING_H
#define PRELOAD_BLOCKING_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* Make the system call where it stands, with the hub handed off, so that signals interrupt it as
 * they would natively; under --strict, where the hub cannot be handed off, on a helper thread.
 * `cancels`: the call is a cancellation point. Returns the kernel's result, negative errno on
 * failure; errno is kept. May switch, and may not return when the thread is cancelled. */
long blocking_syscall(bool cancels, long number, long a, long b, long c, long d, long e, long f);

/* The same call on a helper thread always: for calls that wait for a disk, and are many. */
long blocking_offload(long number, long a, long b, long c, long d, long e, long f);

/* The same for a function of libc's, made with arg. In place it may use what is the calling
 * thread's; under --strict it must not. Returns what it returns, with errno as it left it. */
long blocking_call(long (*fn)(void *arg), void *arg);

#pragma GCC visibility pop

#endif
