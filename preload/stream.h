/* The lock of a FILE, taken without ever blocking the OS thread inside libc. */
#ifndef PRELOAD_STREAM_H
#define PRELOAD_STREAM_H

#include <stdio.h>

#include "preload/patch.h"

#pragma GCC visibility push(hidden)

/* libc's own lock, recursive, by trylock and park: the real call that follows finds it held by its
 * own thread. May switch. */
void stream_lock(FILE *f);
void stream_unlock(FILE **f); /* for __attribute__((cleanup)): an unwinding thread gives it up */

/* Replace the functions by which libc reads, writes and closes. At start-up. */
const char *stream_start(void);

#pragma GCC visibility pop

/* The body of a wrapper: lock, call, unlock. Nothing to lock where the call passes. */
#define STREAM_LOCKED(name, file)                                              \
    FILE *locked_ __attribute__((cleanup(stream_unlock))) = NULL;              \
    if (!patch_passes(PATCH_##name) && (file)) {                               \
        locked_ = (file);                                                      \
        stream_lock(locked_);                                                  \
    }

#endif
