/* Names of threads. */
#ifndef PRELOAD_NAME_H
#define PRELOAD_NAME_H

#include "thread.h"

#pragma GCC visibility push(hidden)

/* Cut to 15 bytes, as prctl(PR_SET_NAME) does; the main thread's becomes the process's. */
void name_set(struct thread *t, const char *name);

/* Give the calling OS thread the name of the calling green thread, whose own it has become. The
 * main OS thread keeps the process's name, unless the green thread is the main one. */
void name_apply(void);

#pragma GCC visibility pop

#endif
