/* Events of a trace, and the forms in which they are written. */
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
};

enum { TRACE_ALONE = 255 }; /* as `wait` of TRACE_RAN: ran without its hub */

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
    uintptr_t object; /* of the wait */
};

/* Chrome's trace event format, an array of objects, one to a line. */
void trace_write_begin(struct put *p);
void trace_write_end(struct put *p);
size_t trace_write_event(struct put *p, const struct trace_event *e); /* about how many bytes */
void trace_write_lost(struct put *p, uint64_t events);

/* A line for people, if the level asks for that event. */
void trace_write_line(struct put *p, const struct trace_event *e, int level);

#endif
