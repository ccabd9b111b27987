/* Where an OS thread of the process is at this moment.
 *
 * One that sleeps in a system call is left alone: the kernel says where it stands (/proc), and
 * nothing is interrupted. One that runs gets a signal, and stops in its handler until it is let go.
 */
#ifndef DEBUG_CAPTURE_H
#define DEBUG_CAPTURE_H

#include <signal.h>
#include <sys/types.h>

#include "hub/debug/unwind.h"

struct capture_call {
    long number; /* of the system call it sleeps in; -1: in none */
    long args[6];
};

/* Prepare to stop threads with this signal, whose handler `act` has: once, at start. When the
 * program has since taken the signal for itself, running threads are not stopped any more. */
void capture_start(int sig, const struct sigaction *act);

/* Fill *regs. False when the thread is gone or does not answer in time. After a true result the
 * thread may be held: capture_release(). One caller at a time (report.h). */
bool capture(pid_t tid, struct unwind_regs *regs, struct capture_call *call);
void capture_release(void);

/* In the handler of the signal: true when it was sent by capture(). Async-signal-safe. */
bool capture_signalled(const siginfo_t *info, const void *context);

#endif
