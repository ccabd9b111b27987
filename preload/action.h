/* The program's signal actions: action.c. What is done with them: signal.c. */
#ifndef PRELOAD_ACTION_H
#define PRELOAD_ACTION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

struct green;

/* Neither the default nor to be ignored. */
bool action_is_handler(const struct sigaction *act);

/* The handler of sig is about to run and was to run once (SA_RESETHAND). Async-signal-safe. */
void action_reset(int sig);

/* Kick g (kick.h) if sig has a handler. Any thread; async-signal-safe. */
void action_kick(struct green *g, int sig);

/* How many times the program has taken sig's handler away, and with it maybe what was pending.
 * Async-signal-safe. */
uint32_t action_dropped(int sig);

/* What the kernel is told to run for every handler. */
void action_trampoline(int sig, siginfo_t *info, void *context);

/* In a forked child. */
void action_fork(void);

#pragma GCC visibility pop

#endif
