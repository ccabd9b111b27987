#include "hub/debug/trace.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "coro/lock.h"
#include "coro/sys.h"
#include "hub/debug/trace_write.h"
#include "hub/look.h"
#include "preload/config.h"

enum {
    HUBS = 256,
    EVENTS = 1 << 15, /* in a ring */
    DRAIN_NS = 20000000,
    COUNT_S = 5, /* trace_count_time() */
    ROTATE_BYTES = 256 << 20,
    TRACE_STACK = 128 * 1024,
};

/* `head` is the writer's, who holds the hub; `tail` is guarded by drain_lock. */
struct ring {
    _Atomic uint64_t head, lost;
    _Atomic uint64_t tail;
    struct trace_event events[EVENTS];
};

static struct ring *_Atomic rings[HUBS];

static _Atomic int trace_level;           /* enum trace_level: lines on stderr */
static _Atomic bool trace_to_file;        /* events go to the file */
static _Atomic int64_t trace_count_until; /* ns */
static _Atomic bool trace_runs;

/* Guards what follows, and the tails. */
static struct lock drain_lock;
static int trace_file = -1;
static bool trace_forked;
static struct put trace_put, trace_lines;
static uint64_t trace_written;
static char trace_path[CONFIG_PATH_MAX + 32];

/* ---- Recording: by who holds the hub ------------------------------------------------------------- */

static void record(unsigned hub, const struct trace_event *e)
{
    struct ring *r = atomic_load_explicit(&rings[hub], memory_order_acquire);
    if (!r)
        return;
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= EVENTS) {
        atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
        return;
    }
    r->events[head % EVENTS] = *e;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

static void record_name(unsigned hub, const struct green *g)
{
    struct trace_event e = {.type = TRACE_NAME, .id = g->id};
    memcpy(e.name, g->name, sizeof e.name);
    record(hub, &e);
}

/* `left` stopped running on the hub (may be NULL), `next` goes on (may be NULL). */
static void trace_switched(unsigned hub, struct green *left, bool ended, struct green *next)
{
    int64_t now = clock_now();
    bool events = atomic_load_explicit(&trace_to_file, memory_order_relaxed) ||
                  atomic_load_explicit(&trace_level, memory_order_relaxed);
    if (left) {
        if (left->ran_from)
            left->ran += now - left->ran_from;
        left->left_at = now;
        left->woken_at = 0;
        left->left_for = (uint8_t)left->waits_for;
        left->left_object = left->wait_object;
        if (events) {
            if (left->switches <= 1 || ended)
                record_name(hub, left);
            record(hub, &(struct trace_event){
                            .type = ended ? TRACE_ENDED : TRACE_RAN, .id = left->id,
                            .from = left->ran_from ? left->ran_from : now, .time = now,
                            .wait = left->left_for, .object = (uintptr_t)left->wait_object});
        }
    }
    if (next) {
        next->ran_from = now;
        if (events)
            record(hub, &(struct trace_event){
                            .type = next->switches <= 1             ? TRACE_BEGAN
                                    : next->left_for == TRACE_ALONE ? TRACE_RAN
                                                                    : TRACE_WAITED,
                            .id = next->id, .from = next->left_at ? next->left_at : now,
                            .woken = next->woken_at, .time = now, .wait = next->left_for,
                            .object = (uintptr_t)next->left_object});
    }
}

/* g has lost the hub, to the monitor or by a call that is known to block, and runs on. */
static void trace_handed_off(unsigned hub, struct green *g)
{
    int64_t now = clock_now();
    record(hub, &(struct trace_event){.type = TRACE_RAN, .id = g->id, .time = now,
                                      .from = g->ran_from ? g->ran_from : now});
    record(hub, &(struct trace_event){.type = TRACE_HANDOFF, .id = g->id, .time = now});
    g->left_at = now;
    g->left_for = TRACE_ALONE;
}

static void trace_hook(void)
{
    bool events = atomic_load(&trace_to_file) || atomic_load(&trace_level);
    bool wanted = events || atomic_load(&trace_count_until) > clock_now();
    sched_handoff_watch = events ? trace_handed_off : NULL;
    __atomic_store_n(&sched_watch, wanted ? trace_switched : NULL, __ATOMIC_RELEASE);
}

static bool trace_rings(void)
{
    struct hub_look h;
    for (unsigned i = 0; i < HUBS && hub_look_at(i, &h); i++) {
        if (atomic_load(&rings[i]))
            continue;
        long at = sys_6(SYS_mmap, NULL, sizeof(struct ring), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at < 0 && at > -4096)
            return false;
        atomic_store_explicit(&rings[i], (struct ring *)at, memory_order_release);
    }
    return true;
}

/* ---- Writing ----------------------------------------------------------------------------------------- */

static void trace_say(const char *what, const char *then)
{
    static struct put p;
    put_start(&p, 2);
    put_text(&p, "libgreen: the trace ");
    put_name(&p, trace_path);
    put_text(&p, what);
    put_text(&p, "\nlibgreen: ");
    put_text(&p, then);
    put_char(&p, '\n');
    put_flush(&p);
}

/* One that another process writes is left to it: this one's gets its id behind the name. */
static int trace_open(bool with_id)
{
    static struct put p;
    put_start(&p, -1);
    put_text(&p, config.trace);
    if (with_id) {
        put_char(&p, '.');
        put_number(&p, (uint64_t)sys_0(SYS_getpid));
    }
    size_t n = p.used < sizeof trace_path ? p.used : sizeof trace_path - 1;
    memcpy(trace_path, p.text, n);
    trace_path[n] = 0;
    int fd = (int)sys_4(SYS_openat, AT_FDCWD, trace_path,
                        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return -1;
    fd = fd_make_private(fd);
    if (sys_2(SYS_flock, fd, LOCK_EX | LOCK_NB) && !with_id) {
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
        return trace_open(true);
    }
    sys_2(SYS_ftruncate, fd, 0);
    return fd;
}

static void trace_close(void)
{
    if (trace_file < 0)
        return;
    fd_private_closed(trace_file);
    sys_1(SYS_close, trace_file);
    trace_file = -1;
}

static void trace_begin_file(void)
{
    put_start(&trace_put, trace_file);
    trace_written = 0;
    trace_write_begin(&trace_put);
}

/* FILE becomes FILE.1; a former FILE.1 goes. */
static void trace_rotate(void)
{
    char old[sizeof trace_path + 2];
    size_t n = strlen(trace_path);
    memcpy(old, trace_path, n);
    memcpy(old + n, ".1", sizeof ".1");
    trace_write_end(&trace_put);
    put_flush(&trace_put);
    trace_close();
    sys_4(SYS_renameat, AT_FDCWD, trace_path, AT_FDCWD, old);
    trace_file = trace_open(strcmp(trace_path, config.trace) != 0);
    if (trace_file >= 0) {
        trace_begin_file();
        return;
    }
    atomic_store(&trace_to_file, false);
    trace_say(" cannot go on in a new file", "tracing has ended; the program goes on");
}

static void drain_ring(struct ring *r, bool file, int level)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    for (; tail != head; tail++) {
        const struct trace_event *e = &r->events[tail % EVENTS];
        if (file)
            trace_written += trace_write_event(&trace_put, e);
        if (level)
            trace_write_line(&trace_lines, e, level);
    }
    atomic_store_explicit(&r->tail, tail, memory_order_release);
    uint64_t lost = atomic_exchange(&r->lost, 0);
    if (lost && file)
        trace_write_lost(&trace_put, lost);
}

static void drain(void)
{
    bool file = trace_file >= 0;
    int level = atomic_load(&trace_level);
    for (unsigned i = 0; i < HUBS; i++) {
        struct ring *r = atomic_load(&rings[i]);
        if (r)
            drain_ring(r, file, level);
    }
    put_flush(&trace_lines);
    if (!file)
        return;
    put_flush(&trace_put);
    if (trace_put.failed) {
        trace_close();
        atomic_store(&trace_to_file, false);
        trace_say(" cannot be written: is the disk full?", "tracing has ended; the program goes on");
    } else if (trace_written > ROTATE_BYTES) {
        trace_rotate();
    }
}

static void *trace_main(void *unused)
{
    (void)unused;
    native_begin();
    sys_5(SYS_prctl, 15 /* PR_SET_NAME */, "green-trace", 0, 0, 0);
    for (;;) {
        struct timespec ts = {0, DRAIN_NS};
        sys_2(SYS_nanosleep, &ts, 0);
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
    if (trace_rings() && native_thread(trace_main, NULL, TRACE_STACK) == 0)
        return true;
    atomic_store(&trace_runs, false);
    return false;
}

/* ---- What is asked ----------------------------------------------------------------------------------- */

void trace_run(void)
{
    if (!config.trace[0] || atomic_load(&trace_runs))
        return;
    if (strcmp(config.trace, "-") == 0) {
        atomic_store(&trace_level, TRACE_ALL);
    } else {
        trace_file = trace_open(trace_forked);
        if (trace_file < 0) {
            trace_say(" cannot be opened", "name another file; the program goes on without");
            atomic_store(&trace_runs, true); /* once */
            return;
        }
        trace_begin_file();
        atomic_store(&trace_to_file, true);
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
    drain();
    if (trace_file >= 0) {
        trace_write_end(&trace_put);
        put_flush(&trace_put);
        trace_close();
    }
    atomic_store(&trace_level, TRACE_OFF);
    lock_release(&drain_lock);
}

void trace_fork(void)
{
    lock_init(&drain_lock);
    sched_handoff_watch = NULL;
    sched_watch = NULL;
    trace_file = -1; /* the number is closed with the others that were ours */
    trace_forked = true;
    atomic_store(&trace_runs, false);
    atomic_store(&trace_to_file, false);
    atomic_store(&trace_level, TRACE_OFF);
    for (unsigned i = 0; i < HUBS; i++) {
        struct ring *r = atomic_load(&rings[i]);
        if (r)
            atomic_store(&r->tail, atomic_load(&r->head));
    }
}

/* A reporter has another table of descriptors, and libc does not know it: threads are made by the
 * control thread, before. */
bool trace_switch(bool on)
{
    if (trace_file < 0 || !atomic_load(&trace_runs))
        return false;
    atomic_store(&trace_to_file, on);
    trace_hook();
    return true;
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
    atomic_store(&trace_count_until, clock_now() + COUNT_S * INT64_C(1000000000));
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
