/* Under --on-deadlock: a warning when mutexes are taken in orders that can deadlock, although they have
 * not yet. Calls come from the mutexes' slow path, which is the only one while this is on.
 */
#ifndef DEBUG_LOCKORDER_H
#define DEBUG_LOCKORDER_H

#include <stdbool.h>

/* Written by lockorder_start(). */
extern bool lockorder_on __attribute__((visibility("hidden")));

void lockorder_start(void);

/* The calling thread is about to wait for `lock`, if need be; the call returns to `place`. May warn,
 * once for each pair. Outside the runtime; never switches. */
void lockorder_wants(const void *lock, void *place);

/* The calling thread has taken it, or released it. */
void lockorder_taken(const void *lock, void *place);
void lockorder_released(const void *lock);

/* There is another lock at this address from now on. */
void lockorder_forget(const void *lock);

void lockorder_fork(void);

#endif
