/* Destructors of pthread keys. */
#ifndef PRELOAD_KEY_H
#define PRELOAD_KEY_H

/* Run the destructors of the calling thread's values, as libc does at a thread's end: in the order
 * of the keys, again while there are values, PTHREAD_DESTRUCTOR_ITERATIONS times at most. May
 * switch: they are the program's code. */
void key_run_destructors(void) __attribute__((visibility("hidden")));

#endif
