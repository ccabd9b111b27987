/* Does an OS thread of the process sleep in the kernel? */
#ifndef HUB_SLEEPS_H
#define HUB_SLEEPS_H

#include <stdbool.h>
#include <sys/types.h>

/* Asks the kernel; false also when no answer came within a millisecond, true when there is none to be
 * had. Of a thread whose processor clock stands still: so it sleeps, or waits for a processor. Uses no
 * descriptor of the process's. The monitor's thread only. */
bool thread_sleeps(pid_t tid);

/* From bar to unbar the runtime has no OS thread that libc does not know of and so could not give other
 * credentials. May sleep for a moment; nests. Any thread. */
void sleeps_bar(void);
void sleeps_unbar(void);

/* In a forked child. */
void sleeps_fork(void);

#endif
