/* The signal mask that ppoll, pselect and epoll_pwait have while they wait. */
#ifndef PRELOAD_POLLMASK_H
#define PRELOAD_POLLMASK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/signal.h"

struct pollmask {
    uint64_t old;
};

/* Put on the mask. True when a handler ran for what it lets in: the call ends with EINTR. */
static inline bool pollmask_begin(struct pollmask *m, const sigset_t *mask)
{
    return signal_mask_swap(self_green(), signal_mask_of(mask), &m->old);
}

/* Take it off again; errno is kept. */
static inline void pollmask_end(const struct pollmask *m)
{
    uint64_t ignored;
    signal_mask_swap(self_green(), m->old, &ignored);
}

#endif
