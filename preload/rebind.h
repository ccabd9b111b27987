/* What the loaded objects refer to, and libraries opened with RTLD_DEEPBIND. */
#ifndef PRELOAD_REBIND_H
#define PRELOAD_REBIND_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* Does the program, or a library that is loaded now, refer to this symbol? libgreen does not count.
 * Takes the loader's lock: outside the runtime. */
bool rebind_refers(const char *name);

/* How many objects are loaded now: for rebind_since(). */
unsigned rebind_count(void);

/* In the objects that were loaded after the first `count`, by the dlopen() that returned `handle`:
 * references that the loader bound, or will bind, to a function of libc's that libgreen takes over
 * become references to libgreen's. Any thread. */
void rebind_since(unsigned count, void *handle);

#pragma GCC visibility pop

#endif
