/* Leak checkers find what green threads hold. */
#ifndef PRELOAD_LEAKS_H
#define PRELOAD_LEAKS_H

#pragma GCC visibility push(hidden)

/* When the runtime has started, once. Does nothing where the program has no leak checker. */
void leaks_start(void);

#pragma GCC visibility pop

#endif
