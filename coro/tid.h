/* Thread ids of green threads, as libc's locks keep them as owners: above everything that the kernel
 * hands out (2^22), below FUTEX_TID_MASK, and not used again before all others have been. */
#ifndef CORO_TID_H
#define CORO_TID_H

#include <sys/types.h>

/* An id that no live green thread has; 0 when there are too many. Takes a lock, never blocks. */
pid_t tid_take(void);
void tid_give(pid_t tid);
void tid_after_fork(void);

#endif
