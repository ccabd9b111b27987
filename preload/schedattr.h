/* sched_setattr(2) and sched_getattr(2), which libc has no functions for. */
#ifndef PRELOAD_SCHEDATTR_H
#define PRELOAD_SCHEDATTR_H

#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* As the system calls, with the ids of green threads too: what sched_setscheduler() remembers is
 * remembered, and a niceness is setpriority()'s. -1 and errno: the kernel's. Any
 * thread, outside the runtime; a niceness of the caller's own may switch. */
long schedattr_set(pid_t tid, const void *attr, unsigned flags);
long schedattr_get(pid_t tid, void *attr, unsigned size, unsigned flags);

#pragma GCC visibility pop

#endif
