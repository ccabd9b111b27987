/* --trace: what happened when. Each hub has a ring of events, written by whoever holds the hub; a
 * native thread empties the rings into a file for trace viewers, or as lines on stderr.
 */
#ifndef DEBUG_TRACE_H
#define DEBUG_TRACE_H

#include <stdbool.h>

/* Begin what config.trace asks for, unless it has begun. */
void trace_run(void);

/* Write what is in the rings, and the end of the file. */
void trace_exit(void);

void trace_fork(void);

/* For the control socket; on a reporter or any native thread. */

/* Record or not, into the file of --trace; false when there is none. */
bool trace_switch(bool on);

/* Lines on stderr: "off", "threads" (begin, end, loss of the hub) or "all"; false for another
 * word. */
bool trace_log(const char *level);

/* Make what trace_log() needs; false when that cannot be had. On a native thread that libc
 * knows. */
bool trace_ready(void);

/* Count the time that threads run (green_look.ran) for the next few seconds. */
void trace_count_time(void);

/* Is it still being counted? Ends it when it is time. */
bool trace_counts_time(void);

#endif
