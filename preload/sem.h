/* What sem.c and sem_shared.c have of each other. */
#ifndef PRELOAD_SEM_H
#define PRELOAD_SEM_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* wait_on()'s question: takes one off the count; false when it was zero. Keeps errno. */
bool sem_ready(void *sem);

/* Wait in our queue. `limited`: the caller gave a time limit. `polls`: posts of other processes are
 * to be found out. 0 when it got one, ETIMEDOUT or EINTR. Acts on cancellation. May switch. */
int sem_queue_wait(sem_t *sem, int64_t deadline, bool limited, bool polls);

/* Wait for a semaphore that other processes may post. Results as above. */
int sem_shared_wait(sem_t *sem, clockid_t clock, const struct timespec *abs);

#endif
