/* Green threads that change kernel state of their OS thread. */
#ifndef PRELOAD_BIND_H
#define PRELOAD_BIND_H

#include "hub/green.h"

#pragma GCC visibility push(hidden)

/* Before a call that changes kernel state of the calling OS thread: keeps the calling green thread
 * on an OS thread of its own for life; what it makes by pthread_create() then are OS threads, which
 * inherit that state. In a process that has one OS thread and one green thread nothing needs to be
 * done: all that come later have the same. May switch. */
void bind_self(void);

/* For the hook that runs on g's own stack after an interrupt: does what setpriority() of another
 * thread asked of it. */
void bind_interrupted(struct green *g);

#pragma GCC visibility pop

#endif
