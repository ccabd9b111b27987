/* Scheduling policy, processors and names of threads. */
#ifndef PRELOAD_SCHED_H
#define PRELOAD_SCHED_H

#include <sched.h>
#include <stdbool.h>

#include "attr.h"
#include "thread.h"

#pragma GCC visibility push(hidden)

/* What a thread made by one with `creator` and the attribute `a` starts with. 0, or the errno that
 * the kernel has for what the attribute asks. */
int sched_inherit(struct thread_sched *to, const struct thread_sched *creator,
                  const struct attr *a);

/* As sched_getscheduler() and sched_getparam() report them for the thread. */
int sched_policy_of(const struct thread *t, struct sched_param *param);

/* The thread's processors; false when they do not fit. */
bool sched_cpus_of(const struct thread *t, cpu_set_t *cpus);

/* Give the calling OS thread what the calling green thread was told: when it becomes bound to it,
 * in the child that it forked, before it executes another program. A failure is left alone. */
void sched_apply(void);

#pragma GCC visibility pop

#endif
