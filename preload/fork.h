/* See fork.c. */
#ifndef PRELOAD_FORK_H
#define PRELOAD_FORK_H

/* Register the handler that rebuilds the runtime in a forked child. At start-up, before any other
 * library registers one. */
void fork_start(void);

#endif
