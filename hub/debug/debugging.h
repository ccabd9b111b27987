/* Where the rest of libgreen meets what shows and watches green threads: the whole of debug/ hangs on
 * these calls, and on the hooks of hub/look.h. (Not debug.h: libstdc++ has a debug/debug.h.) */
#ifndef DEBUG_DEBUGGING_H
#define DEBUG_DEBUGGING_H

#include <stdbool.h>

/* In the constructor, when the configuration has been read. */
void debug_start(void);

/* Something was asked for that needs a thread of its own. Written by debug_start(). */
extern bool debug_wanted;

/* A green thread was made, here or in a forked child that had none: what was asked for runs from now
 * on. Idempotent. Outside the runtime. */
void debug_run(void);

/* Is it a signal that was taken for debugging? */
bool debug_signal(int sig);

/* In a forked child. */
void debug_fork(void);

/* The process ends: tables are printed. Idempotent. */
void debug_exit(void);

#endif
