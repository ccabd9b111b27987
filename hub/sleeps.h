/* Does an OS thread of the process sleep in the kernel? */
#ifndef HUB_SLEEPS_H
#define HUB_SLEEPS_H

#include <sys/types.h>

/* Asks the kernel, of a thread whose processor clock stands still: 1, it sleeps; 0, it waits for a
 * processor; -1, no answer came within a millisecond. 1 also where no answer is to be had at all. Uses no
 * descriptor of the process's. The monitor's thread only. */
int thread_sleeps(pid_t tid);

/* From bar to unbar the runtime has no OS thread that libc does not know of and so could not give other
 * credentials. May sleep for a moment; nests. Any thread. */
void sleeps_bar(void);
void sleeps_unbar(void);

/* In a forked child. */
void sleeps_fork(void);

#endif
