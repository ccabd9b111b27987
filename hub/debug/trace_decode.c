#include "hub/debug/trace_decode.h"

#include <string.h>
#include <sys/mman.h>

#include "coro/sys.h"

enum { THREADS = 1024 }; /* room for, at first */

/* One that does not run, and since when. */
struct decode_thread {
    uint64_t id; /* 0: this place is free */
    int64_t left;
    uint64_t object;
    uint8_t wait;
};

/* ---- Threads that stopped: a table by id ----------------------------------------------------- */

static size_t thread_home(const struct decoder *d, uint64_t id)
{
    return (size_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (d->room - 1);
}

/* Where it is, or would be. */
static struct decode_thread *thread_place(const struct decoder *d, uint64_t id)
{
    size_t i = thread_home(d, id);
    while (d->threads[i].id && d->threads[i].id != id)
        i = (i + 1) & (d->room - 1);
    return &d->threads[i];
}

static bool threads_grow(struct decoder *d)
{
    struct decoder old = *d;
    d->room = old.room ? old.room * 2 : THREADS;
    long at = sys_6(SYS_mmap, NULL, d->room * sizeof *d->threads, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096) {
        d->room = old.room;
        return false;
    }
    d->threads = (struct decode_thread *)at;
    for (size_t i = 0; i < old.room; i++)
        if (old.threads[i].id)
            *thread_place(d, old.threads[i].id) = old.threads[i];
    if (old.room)
        sys_2(SYS_munmap, old.threads, old.room * sizeof *old.threads);
    return true;
}

static void thread_stopped(struct decoder *d, const struct decode_thread *stopped)
{
    if (d->used * 4 >= d->room * 3 && !threads_grow(d))
        return;
    struct decode_thread *t = thread_place(d, stopped->id);
    d->used += !t->id;
    *t = *stopped;
}

/* Takes it out of the table; false when it is not there. */
static bool thread_take(struct decoder *d, uint64_t id, struct decode_thread *out)
{
    struct decode_thread *t = d->room ? thread_place(d, id) : NULL;
    if (!t || !t->id)
        return false;
    *out = *t;
    /* Whoever follows and would not be found across the free place moves into it. */
    size_t mask = d->room - 1, hole = (size_t)(t - d->threads);
    for (size_t i = hole; d->threads[i = (i + 1) & mask].id;) {
        size_t home = thread_home(d, d->threads[i].id);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        d->threads[hole] = d->threads[i];
        hole = i;
    }
    d->threads[hole].id = 0;
    d->used--;
    return true;
}

/* ---- Records --------------------------------------------------------------------------------- */

static int64_t decode_time(const struct decoder *d, const struct trace_record *r)
{
    /* The counter's high bits are as at the block's time. */
    uint64_t since = (r->word[0] >> RECORD_TIME_SHIFT) - d->ticks;
    int64_t ticks = (int64_t)(since << RECORD_TIME_SHIFT) >> RECORD_TIME_SHIFT;
    return d->ns + (int64_t)((double)ticks * d->rate);
}

/* Who ran on the hub has stopped. */
static void decode_left(struct decoder *d, unsigned hub, enum trace_type type, int64_t now,
                        uint8_t wait, uint64_t object)
{
    uint64_t id = d->hub[hub].id;
    if (!id)
        return;
    d->event(d->arg, &(struct trace_event){.type = (uint8_t)type, .wait = wait, .id = id,
                                           .from = d->hub[hub].since, .time = now,
                                           .object = object});
    if (type != TRACE_ENDED)
        thread_stopped(d, &(struct decode_thread){id, now, object, wait});
}

static void decode_switch(struct decoder *d, unsigned hub, const struct trace_record *r,
                          int64_t now)
{
    uint64_t id = r->word[1] & ((UINT64_C(1) << RECORD_ID_BITS) - 1);
    uint64_t packed = r->word[1] >> RECORD_WOKEN_SHIFT;
    if (r->word[0] & RECORD_LEFT)
        decode_left(d, hub, r->word[0] & RECORD_ENDED ? TRACE_ENDED : TRACE_RAN, now,
                    (uint8_t)(r->word[1] >> RECORD_ID_BITS), r->word[2]);
    d->hub[hub].id = id;
    d->hub[hub].since = now;
    if (!id)
        return;
    struct decode_thread t;
    bool known = thread_take(d, id, &t) && t.left >= d->gap && t.left <= now;
    if (r->word[0] & RECORD_FIRST) {
        d->event(d->arg, &(struct trace_event){.type = TRACE_BEGAN, .id = id, .time = now});
    } else if (known) {
        int64_t woken = now - (int64_t)((double)((packed & 2047) << (packed >> 11)) * d->rate);
        d->event(d->arg, &(struct trace_event){.type = TRACE_WAITED, .wait = t.wait, .id = id,
                                               .from = t.left, .time = now, .object = t.object,
                                               .woken = woken > t.left ? woken : 0});
    }
}

static void decode_gap(struct decoder *d, unsigned hub, uint64_t lost, int64_t now)
{
    d->gap = now > d->gap ? now : d->gap;
    if (lost) {
        d->hub[hub].id = 0;
        d->event(d->arg, &(struct trace_event){.type = TRACE_LOST, .time = now, .object = lost});
        return;
    }
    for (unsigned i = 0; i < DECODE_HUBS; i++)
        d->hub[i].id = 0;
}

static void decode_record(struct decoder *d, unsigned hub, const struct trace_record *r)
{
    unsigned type = r->word[0] & RECORD_TYPE;
    if (type == RECORD_NAME) {
        struct trace_event e = {.type = TRACE_NAME, .id = r->word[1]};
        uint64_t last = r->word[0] >> RECORD_TIME_SHIFT;
        memcpy(e.name, &r->word[2], 8);
        memcpy(e.name + 8, &last, 8);
        d->event(d->arg, &e);
        return;
    }
    int64_t now = decode_time(d, r);
    if (type == RECORD_SWITCH) {
        decode_switch(d, hub, r, now);
    } else if (type == RECORD_HANDOFF) {
        decode_left(d, hub, TRACE_RAN, now, 0, 0);
        d->event(d->arg, &(struct trace_event){.type = TRACE_HANDOFF, .id = r->word[1],
                                               .time = now});
        thread_stopped(d, &(struct decode_thread){r->word[1], now, 0, TRACE_ALONE});
        d->hub[hub].id = 0;
    } else if (type == RECORD_GAP) {
        decode_gap(d, hub, r->word[2], now);
    }
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Times are made from the block's and the last one's, so that both clocks may drift apart. */
static void decode_clock(struct decoder *d, uint64_t ticks, int64_t ns)
{
    enum { TOO_SHORT_NS = 1000000 };
    if (d->ticks && ticks > d->ticks && ns > d->ns && (d->rate == 0 || ns - d->ns >= TOO_SHORT_NS))
        d->rate = (double)(ns - d->ns) / (double)(ticks - d->ticks);
    d->ticks = ticks;
    d->ns = ns;
}

static void part_skip_empty(struct decode_part *p)
{
    if (!p->count[0]) {
        p->at[0] = p->at[1];
        p->count[0] = p->count[1];
        p->count[1] = 0;
    }
}

void decode_block(struct decoder *d, uint64_t ticks, int64_t ns, struct decode_part *parts,
                  size_t n)
{
    decode_clock(d, ticks, ns);
    for (size_t i = 0; i < n; i++)
        part_skip_empty(&parts[i]);
    /* Threads move from hub to hub: the oldest record first. */
    for (;;) {
        struct decode_part *oldest = NULL;
        int64_t at = 0;
        for (size_t i = 0; i < n; i++) {
            if (!parts[i].count[0])
                continue;
            const struct trace_record *r = parts[i].at[0];
            bool timeless = (r->word[0] & RECORD_TYPE) == RECORD_NAME;
            int64_t time = timeless ? INT64_MIN : decode_time(d, r);
            if (!oldest || time < at) {
                oldest = &parts[i];
                at = time;
            }
        }
        if (!oldest)
            return;
        decode_record(d, oldest->hub, oldest->at[0]);
        oldest->at[0]++;
        oldest->count[0]--;
        part_skip_empty(oldest);
    }
}

/* The chunks of a block's words; how many there are. */
static size_t block_parts(struct decode_part *parts, const uint64_t *words, uint64_t n)
{
    size_t used = 0;
    for (uint64_t at = 0; at < n && used < DECODE_HUBS; used++) {
        uint64_t hub = words[at] >> 32, count = (uint32_t)words[at];
        at++;
        if (hub >= DECODE_HUBS)
            break;
        count = count < (n - at) / 3 ? count : (n - at) / 3;
        parts[used] = (struct decode_part){.hub = (unsigned)hub, .count = {(size_t)count, 0},
                                           .at = {(const struct trace_record *)(words + at), NULL}};
        at += count * 3;
    }
    return used;
}

uint64_t decode_pid(const void *bytes, size_t size)
{
    const struct trace_head *head = bytes;
    return size >= sizeof *head && head->magic == TRACE_HEAD_MAGIC ? head->pid : 0;
}

bool decode_file(struct decoder *d, const void *bytes, size_t size)
{
    if (!decode_pid(bytes, size))
        return false;
    size_t at = sizeof(struct trace_head);
    while (size - at >= sizeof(struct trace_block)) {
        const struct trace_block *b = (const void *)((const char *)bytes + at);
        at += sizeof *b;
        if (b->magic != TRACE_BLOCK_MAGIC)
            break;
        uint64_t there = (size - at) / sizeof(uint64_t);
        uint64_t words = b->words < there ? b->words : there;
        size_t n = block_parts(d->parts, (const uint64_t *)(b + 1), words);
        decode_block(d, b->ticks, b->ns, d->parts, n);
        at += (size_t)words * sizeof(uint64_t);
    }
    return true;
}

void decode_end(struct decoder *d)
{
    if (d->room)
        sys_2(SYS_munmap, d->threads, d->room * sizeof *d->threads);
    *d = (struct decoder){.event = d->event, .arg = d->arg};
}
