/* --on-deadlock: green threads that wait for each other. */
#ifndef DEBUG_DEADLOCK_H
#define DEBUG_DEADLOCK_H

/* One look; on the watch thread. Reports a deadlock that it sees twice in a row, once. */
void deadlock_look(void);

#endif
