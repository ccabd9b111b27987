/* The thread that looks at green threads from time to time, for --detect-blocking and
 * --on-deadlock. A native one of the runtime's; it exists only where one of them was asked for.
 */
#ifndef DEBUG_WATCH_H
#define DEBUG_WATCH_H

/* Start it unless it runs. */
void watch_run(void);

void watch_fork(void);

#endif
