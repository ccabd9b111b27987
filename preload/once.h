/* What pthread_once() and call_once() are. */
#ifndef PRELOAD_ONCE_H
#define PRELOAD_ONCE_H

/* Run init() unless it has run to its end for this word; wait where another thread is running it.
 * Returns 0. Any thread; may switch. As pthread_once(3): an init() that is left by pthread_exit(),
 * cancellation or a C++ exception has not run. */
int once_call(int *once, void (*init)(void));

#endif
