/* Names of threads. */
#ifndef PRELOAD_NAME_H
#define PRELOAD_NAME_H

#include "thread.h"

/* Cut to 15 bytes, as prctl(PR_SET_NAME) does; the main thread's becomes the process's. */
void name_set(struct thread *t, const char *name) __attribute__((visibility("hidden")));

#endif
