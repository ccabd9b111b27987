/* The file of --trace. While the program runs, records are appended to FILE.spool as they are; FILE
 * says so. When it holds config.trace_size bytes it becomes FILE.1.spool, whose predecessor goes.
 * At exit both become JSON, in FILE and FILE.1, and go. One caller at a time.
 */
#ifndef DEBUG_TRACE_SPOOL_H
#define DEBUG_TRACE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>

#include "hub/debug/trace_ring.h"

/* Begin a new one, named for the process if `forked` or another process writes that file now;
 * what cannot be opened is said. */
bool spool_open(bool forked);

bool spool_is_open(void);

/* Append a block: what the rings' parts hold, the records of `more` (as of the first hub), and
 * how much was lost. False, and it is no longer open, when that failed: which is said. */
bool spool_write(const struct ring_part *parts, size_t n, const struct trace_record *more,
                 size_t count);

/* Is it time for spool_rotate()? */
bool spool_is_full(void);

/* Go on in a new file; false as spool_write(). */
bool spool_rotate(void);

/* Make JSON of it, as far as it was written. */
void spool_finish(void);

/* In a forked child. */
void spool_fork(void);

#endif
