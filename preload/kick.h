/* Kicks: a signal of the program's that is sent to an OS thread only to make the green thread that runs
 * there look at what is pending for it. The trampoline tells one by its siginfo. The number is the
 * program's own, so that an interrupted system call ends or goes on as its handler says; therefore none
 * may be on its way when the program takes that handler away, or it would have the default action.
 */
#ifndef PRELOAD_KICK_H
#define PRELOAD_KICK_H

#include <signal.h>
#include <stdbool.h>

#pragma GCC visibility push(hidden)

struct green;

/* Kick the OS thread that runs g, if it is another than the caller's. Signals held off, the lock of the
 * actions held, and sig has a handler. */
void kick_send(struct green *g, int sig);

/* Is it a kick? For the trampoline, once for each signal. Async-signal-safe. */
bool kick_received(int sig, const siginfo_t *info);

/* Round a change of sig's action to the default: no kick survives it, and whatever else was pending for
 * the caller or the process does. Signals held off, the lock of the actions held. */
enum { KICKS_KEPT = 32 };
struct kicks {
    int sig, kept; /* 0: nothing was flushed */
    siginfo_t info[KICKS_KEPT];
};
void kick_flush(struct kicks *k, int sig);
void kick_flushed(const struct kicks *k);

/* The caller's OS thread executes another program, which would inherit a kick that waits blocked. */
void kick_before_exec(void);

#pragma GCC visibility pop

#endif
