/* See timer.c. */
#ifndef PRELOAD_TIMER_H
#define PRELOAD_TIMER_H

#include <signal.h>

#pragma GCC visibility push(hidden)

struct green;

/* The green thread that a timer's signal is for (SIGEV_THREAD_ID), or NULL. Async-signal-safe. */
struct green *timer_target(const siginfo_t *info);

#pragma GCC visibility pop

#endif
