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

/* What the monitor does where it looks at no hub: never returns. */
_Noreturn void trim_alone(void);

/* A hub is about to sleep: trim_alone() looks whether there is something to do. */
void trim_hint(void);

#endif
