/* How poll, select and their kin wait: the kernel is asked what is ready now; when nothing is, the
 * green thread parks until something may be, and asks again.
 */
#ifndef PRELOAD_POLLWAIT_H
#define PRELOAD_POLLWAIT_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#pragma GCC visibility push(hidden)

/* Owned by the calling green thread; embedded first in a struct with the call's own arguments. */
struct pollwait {
    /* The real call with this time-out (NULL: none), by blocking_syscall() unless `now`. Returns
     * the kernel's result. */
    long (*look)(struct pollwait *w, const struct timespec *timeout, bool now);
    const struct pollfd *fds; /* what to wait for; revents is not used */
    nfds_t count;
    const sigset_t *mask; /* while it waits; NULL: as it is */
    int64_t deadline;
    bool looked; /* the caller has looked already, in vain */
};

/* Returns look()'s last result, which is 0 when the deadline has passed, or -EINTR. A cancellation
 * point: `clean` (may be NULL) is called before the thread ends. May switch. */
long pollwait(struct pollwait *w, void (*clean)(struct pollwait *w));

/* The deadline of a relative time-out: NULL is none. False when it is not valid. */
bool pollwait_deadline(const struct timespec *timeout, int64_t *deadline);

/* A pointer that the program cannot mean: calls with such a one are the kernel's, which says
 * EFAULT. */
static inline bool pollwait_wild(const void *p)
{
    enum { LOWEST = 65536 }; /* nothing is mapped below (vm.mmap_min_addr) */
    return p && (uintptr_t)p < LOWEST;
}

/* What is left until the deadline, as a time-out for look(); NULL when there is none. */
const struct timespec *pollwait_left(int64_t deadline, struct timespec *left);

#pragma GCC visibility pop

#endif
