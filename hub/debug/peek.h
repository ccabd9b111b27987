/* Reading the process's own memory where it may be gone, unreadable or in the middle of a change.
 *
 * Through system calls, so that a bad address is an error and not a fault. No thread-local storage;
 * async-signal-safe.
 */
#ifndef DEBUG_PEEK_H
#define DEBUG_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read n bytes; false when not all of them can be read. */
bool peek(void *to, uintptr_t from, size_t n);

/* Read as much as there is from `from` on, up to n bytes; returns how much. */
size_t peek_some(void *to, uintptr_t from, size_t n);

#endif
