/* What does an OS thread of the process do whose processor clock stands still? */
#ifndef HUB_SLEEPS_H
#define HUB_SLEEPS_H

#include <sys/types.h>

/* In order: from THREAD_BLOCKED on others could do something in its place. */
enum thread_state {
    THREAD_UNKNOWN,  /* no answer came within a millisecond */
    THREAD_RUNNABLE, /* it runs, or waits for a processor or, to change it, for the memory map: for what
                        another thread of the process would wait for as well */
    THREAD_BLOCKED,  /* it waits inside the kernel for a disk or a lock, mostly for a short while */
    THREAD_SLEEPS,   /* also where no answer is to be had at all */
};

/* Asks the kernel. Uses no descriptor of the process's. The monitor's thread only. */
enum thread_state thread_state(pid_t tid);

/* From bar to unbar the runtime has no OS thread that libc does not know of and so could not give other
 * credentials. May sleep for a moment; nests. Any thread. */
void sleeps_bar(void);
void sleeps_unbar(void);

/* In a forked child. */
void sleeps_fork(void);

#endif
