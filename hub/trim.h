/* Memory of threads that ended goes back when it was not used for a while. */
#ifndef HUB_TRIM_H
#define HUB_TRIM_H

#include <stdint.h>

/* The monitor, when no hub has anything to do: gives a part of it back if it is time. Calls the program's
 * free. */
void trim_tick(int64_t now);

/* How many ns from now on there will be something to do for trim_tick(), if nothing happens meanwhile;
 * -1: never. */
int64_t trim_wait(int64_t now);

/* The same; where it is never, the next trim_hint() with something to do ends the monitor's wait. */
int64_t trim_wait_hint(int64_t now);

/* What the monitor does where it looks at no hub: never returns. */
_Noreturn void trim_alone(void);

/* A hub is about to sleep: who waits for a hint comes if there is something to do. */
void trim_hint(void);

#endif
