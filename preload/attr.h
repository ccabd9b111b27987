/* What a pthread_attr_t says about a thread to be made. */
#ifndef PRELOAD_ATTR_H
#define PRELOAD_ATTR_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "coro/coro.h"

#pragma GCC visibility push(hidden)

struct attr {
    struct coro_attr coro;
    bool detached;
    bool explicit_policy; /* policy and priority are the attribute's, not the creator's */
    bool has_cpus;
    bool has_mask;
    int policy;
    int priority;
    uint64_t mask; /* kernel form: bit n-1 for signal n */
    cpu_set_t cpus;
};

/* Read `from`, or the default attribute where it is NULL. 0, or an errno. Any thread. */
int attr_read(struct attr *to, const pthread_attr_t *from);

/* In the constructor: makes --stack-size libc's default, so that attribute objects report it. */
void attr_start(void);

/* When the runtime starts: keeps a copy of the default attribute. */
void attr_refresh(void);

#pragma GCC visibility pop

#endif
