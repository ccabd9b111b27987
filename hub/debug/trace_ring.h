/* Where events of a trace are kept until somebody takes them: a ring for each hub, written by
 * whoever holds the hub, in a few nanoseconds and without a lock.
 */
#ifndef DEBUG_TRACE_RING_H
#define DEBUG_TRACE_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "hub/debug/trace_format.h"

struct green;

/* Make the rings; false when there is no memory. Idempotent. */
bool ring_make(void);

/* The scheduler's hooks (sched_watch and sched_handoff_watch in look.h). */
void ring_switched(unsigned hub, struct green *left, bool ended, struct green *next);
void ring_handed_off(unsigned hub, struct green *g);

/* What a ring holds that nobody has taken, oldest first: `count` records in two pieces. */
struct ring_part {
    unsigned hub;
    const struct trace_record *at[2];
    size_t count[2];
    uint64_t lost; /* that many more found the ring full, since ring_look() was last called */
};

/* One of the rings with news; those of a call with `hub` 0 and the later ones with the last
 * part's hub + 1 until it returns false. One taker at a time. */
bool ring_look(unsigned hub, struct ring_part *part);

/* What `part` shows has been taken. */
void ring_taken(const struct ring_part *part);

/* Sleep for so long, or until a ring is half full. The one taker. */
void ring_wait(int64_t ns);

/* Forget what is there: in a forked child. */
void ring_forget(void);

#endif
