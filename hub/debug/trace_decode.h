/* From records (trace_format.h) to events (trace_write.h): what who did from when to when, with
 * times in nanoseconds. Also part of greenctl. Uses no memory but its own tables, nothing of libc
 * but memcpy.
 */
#ifndef DEBUG_TRACE_DECODE_H
#define DEBUG_TRACE_DECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "hub/debug/trace_format.h"
#include "hub/debug/trace_write.h"

enum { DECODE_HUBS = 256 };

/* The records of one hub in a block, in two pieces. */
struct decode_part {
    unsigned hub;
    const struct trace_record *at[2];
    size_t count[2];
};

/* Owned by who decodes; all zero but for `event` and `arg` at first, and again after
 * decode_end(). */
struct decoder {
    void (*event)(void *arg, const struct trace_event *e); /* is given each, in order of its end */
    void *arg;

    uint64_t ticks; /* the last block's time */
    int64_t ns;
    double rate;    /* ns to a tick; 0: not known yet */
    int64_t gap;    /* ns: nothing is known of before */
    struct {
        uint64_t id;   /* of who runs there; 0: nobody, or unknown */
        int64_t since;
    } hub[DECODE_HUBS];
    struct decode_thread *threads; /* of those that stopped and have not ended: open addressing */
    size_t room, used;
    struct decode_part parts[DECODE_HUBS]; /* of the file's block at hand */
};

/* The next block. Threads that there is no memory for are left out. */
void decode_block(struct decoder *d, uint64_t ticks, int64_t ns, struct decode_part *parts,
                  size_t n);

/* All blocks of a file of `size` bytes. False when it is no such file. */
bool decode_file(struct decoder *d, const void *bytes, size_t size);

/* The process that the file is of; 0 when it is no such file. */
uint64_t decode_pid(const void *bytes, size_t size);

void decode_end(struct decoder *d);

#endif
