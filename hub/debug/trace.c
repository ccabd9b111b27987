#include "hub/debug/trace.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "coro/lock.h"
#include "coro/sys.h"
#include "hub/debug/trace_decode.h"
#include "hub/debug/trace_ring.h"
#include "hub/debug/trace_spool.h"
#include "hub/debug/trace_write.h"
#include "hub/green.h"
#include "hub/look.h"
#include "hub/tick.h"
#include "preload/config.h"

enum {
    HUBS = 256,
    FILE_NS = 100000000, /* for so long at most records lie in the rings unwritten ... */
    LINES_NS = 20000000, /* ... or unprinted */
    COUNT_S = 5,         /* trace_count_time() */
    NAMES_S = 10,        /* between two records of what threads are called by then */
    SLICE = 64,
    TRACE_STACK = 128 * 1024,
};

static _Atomic int trace_level;           /* enum trace_level: lines on stderr */
static _Atomic bool trace_to_file;        /* events go to the file */
static _Atomic int64_t trace_count_until; /* ns; 0: run time is not counted */
static _Atomic int64_t trace_count_from;  /* ns: since when it is */
static _Atomic bool trace_runs;

/* Guards what follows, the rings' taking and the spool. */
static struct lock drain_lock;
static bool trace_forked;
static uint64_t trace_resumed; /* ticks, when recording went on after a pause; 0: said already */
static uint64_t trace_ticks;   /* the two clocks when tracing began */
static int64_t trace_ns;
static int64_t trace_names_at;
static struct put trace_lines;
static struct decoder trace_decoder; /* for lines */

/* ---- Recording: by who holds the hub --------------------------------------------------------- */

static void count_time(struct green *left, struct green *next)
{
    int64_t now = clock_now();
    if (left && left->ran_from >= atomic_load_explicit(&trace_count_from, memory_order_relaxed))
        left->ran += now - left->ran_from;
    if (next)
        next->ran_from = now;
}

static void trace_switched(unsigned hub, struct green *left, bool ended, struct green *next)
{
    if (__builtin_expect(atomic_load_explicit(&trace_count_until, memory_order_relaxed) != 0, 0))
        count_time(left, next);
    ring_switched(hub, left, ended, next);
}

static void count_switched(unsigned hub, struct green *left, bool ended, struct green *next)
{
    (void)hub;
    (void)ended;
    count_time(left, next);
}

static void trace_hook(void)
{
    bool events = atomic_load(&trace_to_file) || atomic_load(&trace_level);
    bool counts = atomic_load(&trace_count_until) > clock_now();
    sched_handoff_watch = events ? ring_handed_off : NULL;
    __atomic_store_n(&sched_watch, events ? trace_switched : counts ? count_switched : NULL,
                     __ATOMIC_RELEASE);
}

/* ---- Taking what was recorded ---------------------------------------------------------------- */

static struct ring_part parts[HUBS]; /* drain_lock */

static void drain_event(void *unused, const struct trace_event *e)
{
    (void)unused;
    trace_write_line(&trace_lines, e, atomic_load(&trace_level));
}

static void drain_lines(size_t n)
{
    uint64_t ticks;
    int64_t ns;
    struct decode_part *to = trace_decoder.parts;
    if (!trace_decoder.ticks)
        decode_block(&trace_decoder, trace_ticks, trace_ns, NULL, 0);
    tick_pair(&ticks, &ns);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct decode_part){parts[i].hub, {parts[i].at[0], parts[i].at[1]},
                                     {parts[i].count[0], parts[i].count[1]}};
    trace_decoder.event = drain_event;
    decode_block(&trace_decoder, ticks, ns, to, n);
    for (size_t i = 0; i < n; i++) {
        struct trace_record gap = {{ticks << RECORD_TIME_SHIFT | RECORD_GAP, 0, parts[i].lost}};
        to[0] = (struct decode_part){parts[i].hub, {&gap}, {1, 0}};
        if (parts[i].lost)
            decode_block(&trace_decoder, ticks, ns, to, 1);
    }
    put_flush(&trace_lines);
}

/* What all threads are called now goes to the spool. */
static bool drain_names(void)
{
    static struct green_look looks[SLICE];
    static struct trace_record names[SLICE];
    size_t n;
    trace_names_at = clock_now() + NAMES_S * INT64_C(1000000000);
    for (bool first = true; (n = green_slice(LOOK_TRACE, looks, SLICE, first, NULL));
         first = false) {
        for (size_t i = 0; i < n; i++) {
            uint64_t words[2];
            memcpy(words, looks[i].name, sizeof words);
            names[i] = (struct trace_record){
                {words[1] << RECORD_TIME_SHIFT | RECORD_NAME, looks[i].id, words[0]}};
        }
        if (!spool_write(NULL, 0, names, n))
            return false;
    }
    return true;
}

/* Before the rings are looked at: of those that end meanwhile, the name is in them. */
static bool drain_prepare(void)
{
    if (spool_is_full()) {
        trace_names_at = 0;
        if (!spool_rotate())
            return false;
    }
    return clock_now() < trace_names_at || drain_names();
}

static bool drain_file(size_t n)
{
    struct trace_record gap = {{trace_resumed << RECORD_TIME_SHIFT | RECORD_GAP, 0, 0}};
    bool paused = trace_resumed != 0;
    trace_resumed = 0;
    return spool_write(parts, n, &gap, paused);
}

static void drain(void)
{
    size_t n = 0;
    bool file = spool_is_open() && drain_prepare();
    for (unsigned hub = 0; n < HUBS && ring_look(hub, &parts[n]); n++)
        hub = parts[n].hub + 1;
    if (atomic_load(&trace_level))
        drain_lines(n);
    else if (trace_decoder.ticks)
        decode_end(&trace_decoder);
    if (!file || !drain_file(n))
        atomic_store(&trace_to_file, false);
    for (size_t i = 0; i < n; i++)
        ring_taken(&parts[i]);
}

static void *trace_main(void *unused)
{
    (void)unused;
    native_begin();
    sys_5(SYS_prctl, PR_SET_NAME, "green-trace", 0, 0, 0);
    for (;;) {
        ring_wait(atomic_load(&trace_level) ? LINES_NS : FILE_NS);
        lock_acquire(&drain_lock);
        drain();
        lock_release(&drain_lock);
        trace_hook();
    }
    return NULL;
}

static bool trace_start_thread(void)
{
    if (atomic_exchange(&trace_runs, true))
        return true;
    put_start(&trace_lines, 2);
    tick_start();
    tick_pair(&trace_ticks, &trace_ns);
    if (ring_make() && native_thread(trace_main, NULL, TRACE_STACK) == 0)
        return true;
    atomic_store(&trace_runs, false);
    return false;
}

/* ---- What is asked --------------------------------------------------------------------------- */

void trace_run(void)
{
    if (!config.trace[0] || atomic_load(&trace_runs))
        return;
    tick_start(); /* before a spool, which begins with a time */
    if (strcmp(config.trace, "-") == 0) {
        atomic_store(&trace_level, TRACE_ALL);
    } else if (spool_open(trace_forked)) {
        atomic_store(&trace_to_file, true);
    } else {
        atomic_store(&trace_runs, true); /* once */
        return;
    }
    if (trace_start_thread())
        trace_hook();
}

void trace_exit(void)
{
    if (!atomic_load(&trace_runs))
        return;
    lock_acquire(&drain_lock);
    sched_handoff_watch = NULL;
    __atomic_store_n(&sched_watch, NULL, __ATOMIC_RELEASE);
    trace_names_at = 0;
    drain();
    spool_finish();
    atomic_store(&trace_to_file, false);
    atomic_store(&trace_level, TRACE_OFF);
    lock_release(&drain_lock);
}

void trace_fork(void)
{
    lock_init(&drain_lock);
    sched_handoff_watch = NULL;
    sched_watch = NULL;
    spool_fork();
    ring_forget();
    trace_forked = true;
    trace_names_at = 0;
    decode_end(&trace_decoder);
    atomic_store(&trace_runs, false);
    atomic_store(&trace_to_file, false);
    atomic_store(&trace_level, TRACE_OFF);
}

/* A reporter has another table of descriptors, and libc does not know it: threads are made by the
 * control thread, before. */
bool trace_switch(bool on)
{
    lock_acquire(&drain_lock);
    bool can = spool_is_open() && atomic_load(&trace_runs);
    if (can && !atomic_exchange(&trace_to_file, on) && on)
        trace_resumed = tick_now();
    lock_release(&drain_lock);
    if (can)
        trace_hook();
    return can;
}

bool trace_log(const char *level)
{
    static const char *const words[] = {"off", "threads", "all"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(level, words[i]) != 0)
            continue;
        atomic_store(&trace_level, i);
        if (atomic_load(&trace_runs))
            trace_hook();
        return true;
    }
    return false;
}

void trace_count_time(void)
{
    int64_t now = clock_now();
    if (!atomic_load(&trace_count_until))
        atomic_store(&trace_count_from, now);
    atomic_store(&trace_count_until, now + COUNT_S * INT64_C(1000000000));
    trace_hook();
}

bool trace_counts_time(void)
{
    int64_t until = atomic_load(&trace_count_until);
    if (!until || clock_now() < until)
        return until != 0;
    atomic_store(&trace_count_until, 0);
    trace_hook();
    return false;
}

bool trace_ready(void)
{
    return trace_start_thread();
}
