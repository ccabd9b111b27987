/* Where reports are made: on an OS thread that exists only for that.
 *
 * It is made by clone(), shares the process's memory and nothing that it could disturb: it has a
 * table of descriptors of its own, so that files it opens take no number of the program's, and libc
 * does not know of it. It runs with its maker's thread pointer, so what it calls must use no
 * thread-local storage, and no lock of the program's or of libc's. It can be made in a signal
 * handler, and works when no hub does.
 */
#ifndef DEBUG_REPORT_H
#define DEBUG_REPORT_H

#include <stdbool.h>

/* Make one that runs fn(arg); `wait` for its end. False when there is one already, or none can be
 * made. Async-signal-safe. With `wait` false, arg must outlive it. */
bool report_run(void (*fn)(void *arg), void *arg, bool wait);

/* The same for somebody who was asked and waits: tries for up to `ms` milliseconds, and those who
 * report of their own accord and see report_is_awaited() let it go first. One caller at a time. */
bool report_run_within(int ms, void (*fn)(void *arg), void *arg);
bool report_is_awaited(void);

/* In the reporter: read anew what is mapped. First of all. */
void report_begin(void);

/* In a forked child: the parent's is not here. */
void report_fork(void);

#endif
