/* --detect-blocking: who keeps a carrier to itself. */
#ifndef DEBUG_BLOCKING_H
#define DEBUG_BLOCKING_H

#include <stdint.h>

/* Before the first look. */
void blocking_start(void);

/* One look at all hubs and at the threads that lost theirs; reports who has gone on for longer than
 * config.detect_blocking. On the watch thread. */
void blocking_look(int64_t now);

/* The table of all places, at exit. Once. */
void blocking_print(void);

void blocking_fork(void);

#endif
