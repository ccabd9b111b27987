/* Thread ids of green threads, as libc's locks keep them as owners: above everything that the kernel
 * hands out (TID_KERNEL_MOST), below FUTEX_TID_MASK, and not used again before all others have been. */
#ifndef CORO_TID_H
#define CORO_TID_H

#include <sys/types.h>

enum { TID_KERNEL_MOST = 1 << 22 }; /* PID_MAX_LIMIT: no process and no OS thread has a higher one */

/* An id that no live green thread has; 0 when there are too many. Takes a lock, never blocks. */
pid_t tid_take(void);
void tid_give(pid_t tid);
void tid_after_fork(void);

#endif
