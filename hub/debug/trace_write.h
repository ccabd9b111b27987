/* Events of a trace, and the forms in which they are written. Also part of greenctl. */
#ifndef DEBUG_TRACE_WRITE_H
#define DEBUG_TRACE_WRITE_H

#include <stdint.h>

#include "hub/debug/put.h"

enum trace_level { TRACE_OFF, TRACE_THREADS, TRACE_ALL };

enum trace_type {
    TRACE_BEGAN,   /* runs for the first time, at `time` */
    TRACE_RAN,     /* ran from `from` to `time`; now waits for `wait`, or yielded */
    TRACE_ENDED,   /* the same, and has ended */
    TRACE_WAITED,  /* stood still from `from`; was woken at `woken` (0: was not); runs at `time` */
    TRACE_HANDOFF, /* lost its hub at `time`, and runs on */
    TRACE_NAME,    /* is called `name` */
    TRACE_LOST,    /* about `time` so many events were not recorded: `object` */
};

enum { TRACE_ALONE = 255 }; /* as `wait` of TRACE_WAITED: ran without its hub */

struct trace_event {
    uint8_t type; /* enum trace_type */
    uint8_t wait; /* enum wait_kind, or TRACE_ALONE */
    uint64_t id;  /* of the green thread */
    union {
        struct {
            int64_t from, woken; /* CLOCK_MONOTONIC, ns */
        };
        char name[16];
    };
    int64_t time;
    uint64_t object; /* of the wait */
};

/* Chrome's trace event format, an array of objects, one to a line; `pid` is the traced
 * process's. */
void trace_write_begin(struct put *p, uint64_t pid);
void trace_write_event(struct put *p, uint64_t pid, const struct trace_event *e);
void trace_write_end(struct put *p, uint64_t pid);

/* A line for people, if the level asks for that event. */
void trace_write_line(struct put *p, const struct trace_event *e, int level);

#endif
