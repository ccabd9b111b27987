/* What is recorded of green threads while they are traced, in memory and in FILE.spool.
 *
 * A file begins with a struct trace_head. What was taken from the rings at one time is a struct
 * trace_block, followed by `words` words: for each hub with news one word, its index << 32 | the
 * number of records, and the records. The last block may be cut off.
 */
#ifndef DEBUG_TRACE_FORMAT_H
#define DEBUG_TRACE_FORMAT_H

#include <stdint.h>

enum record_type {
    RECORD_SWITCH = 1, /* a hub went from one green thread, or itself, to another, or itself */
    RECORD_HANDOFF,    /* a green thread lost its hub and runs on */
    RECORD_NAME,       /* what a green thread is called; at no particular time */
    RECORD_GAP,        /* until now so many records were lost; 0: all hubs were paused */
    RECORD_TYPE = 15,  /* the bits of the type; beside it, in a RECORD_SWITCH: */
    RECORD_LEFT = 16,  /* there was a green thread before */
    RECORD_ENDED = 32, /* which has ended */
    RECORD_FIRST = 64, /* the next one begins */
};

/* word[0]: the type in the low byte; above it the ticks' (tick.h) low 56 bits, or a name's last 7
 * bytes.
 * word[1]: the id of who runs from now on, or of whom the record tells, in the low 40 bits (0: the
 * hub); above it, in a RECORD_SWITCH, 8 bits of enum wait_kind: what who was left waits for, and 16
 * bits of trace_pack(): the ticks since who goes on was woken.
 * word[2]: the object of that wait, or a name's first 8 bytes, or how many records a gap has. */
struct trace_record {
    uint64_t word[3];
};

enum { RECORD_ID_BITS = 40, RECORD_WOKEN_SHIFT = 48, RECORD_TIME_SHIFT = 8 };

#define TRACE_HEAD_MAGIC UINT64_C(0x31454341525447)  /* "GTRACE1" */
#define TRACE_BLOCK_MAGIC UINT64_C(0x4b434f4c425447) /* "GTBLOCK" */

struct trace_head {
    uint64_t magic, pid;
};

struct trace_block {
    uint64_t magic;
    uint64_t ticks; /* a moment not long before or after the block's last record ... */
    int64_t ns;     /* ... and the same on CLOCK_MONOTONIC */
    uint64_t words;
};

/* A length of time in 16 bits, to a thousandth; what is too long is said to be the longest. */
static inline uint64_t trace_pack(uint64_t ticks)
{
    if (ticks < 2048)
        return ticks;
    unsigned shift = 53 - (unsigned)__builtin_clzll(ticks);
    return shift > 31 ? 0xffff : shift << 11 | (ticks >> shift & 2047);
}

#endif
