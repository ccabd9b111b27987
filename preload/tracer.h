/* Programs that trace others. */
#ifndef PRELOAD_TRACER_H
#define PRELOAD_TRACER_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* When the runtime has started, once, on the main thread. */
void tracer_start(void);

/* Before a fork or vfork: the caller may become the child's tracer. Any thread, outside the runtime. */
void tracer_forks(void);

/* May a child stop for its tracer, which no pidfd reports? Any thread. */
bool tracer_waits(void);

#pragma GCC visibility pop

#endif
