#include "hub/debug/answer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "coro/sys.h"
#include "hub/debug/describe.h"
#include "hub/debug/report.h"
#include "hub/debug/trace.h"
#include "hub/debug/words.h"
#include "gen/green.h"
#include "gen/patch_id.h"
#include "hub/look.h"
#include "preload/patch.h"

enum { SLICE = 64, LOCKS = 1024, HUBS = 256 };

/* ---- Going through all threads ------------------------------------------------------------------ */

/* f for each, in small slices: the list is locked for microseconds at a time. */
static void each(struct put *p, void (*f)(struct put *p, const struct green_look *l, int64_t now))
{
    static struct green_look looks[SLICE];
    int64_t now = clock_now();
    size_t n;
    for (bool first = true; (n = green_slice(LOOK_REPORT, looks, SLICE, first, NULL)); first = false)
        for (size_t i = 0; i < n; i++)
            f(p, &looks[i], now);
}

static void field(struct put *p, const char *name, uint64_t value)
{
    put_text(p, name);
    put_char(p, ' ');
    put_number(p, value);
    put_char(p, '\n');
}

/* ---- Commands: each writes its answer behind "ok" ---------------------------------------------- */

static void answer_ps(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    (void)rest;
    put_text(p, "ok\n");
    describe_heading(p);
    each(p, describe_line);
}

/* For top: fields separated by tabs. Counts run time from now on, for a while. */
static void top_line(struct put *p, const struct green_look *l, int64_t now)
{
    put_number(p, l->id);
    put_char(p, '\t');
    put_name(p, l->name);
    put_char(p, '\t');
    put_text(p, words_state(l->state));
    put_char(p, '\t');
    put_number(p, l->switches);
    put_char(p, '\t');
    put_signed(p, l->ran);
    put_char(p, '\t');
    put_signed(p, l->waits_for && l->since && l->state == LOOK_PARKED ? now - l->since : 0);
    put_char(p, '\t');
    describe_wait(p, l, now);
    put_char(p, '\n');
}

static void answer_top(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    (void)rest;
    trace_count_time();
    put_text(p, "ok\n");
    each(p, top_line);
}

static bool parse_id(const char *text, uint64_t *id)
{
    *id = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || *id > UINT64_MAX / 10 - 1)
            return false;
        *id = *id * 10 + (uint64_t)(*text - '0');
    }
    return *id != 0;
}

/* The thread that an argument names; else an error is the answer. */
static bool chosen(struct put *p, const char *text, struct green_look *l)
{
    uint64_t id;
    if (!parse_id(text, &id)) {
        put_text(p, "error: the id of a green thread is wanted; ps lists them\n");
        return false;
    }
    if (!green_find(id, 0, l)) {
        put_text(p, "error: there is no green thread ");
        put_number(p, id);
        put_char(p, '\n');
        return false;
    }
    return true;
}

static void bt_one(struct put *p, const struct green_look *l, int64_t now)
{
    describe_line(p, l, now);
    describe_stack(p, l, "        ");
}

static void answer_bt(struct put *p, struct answer *a, const char *rest)
{
    struct green_look l;
    (void)a;
    if (strcmp(rest, "all") == 0) {
        put_text(p, "ok\n");
        each(p, bt_one);
    } else if (chosen(p, rest, &l)) {
        put_text(p, "ok\n");
        bt_one(p, &l, clock_now());
    }
}

static void fds_line(struct put *p, const struct green_look *l, int64_t now)
{
    if (l->state != LOOK_PARKED || (l->waits_for != WAIT_FD && l->waits_for != WAIT_POLL))
        return;
    size_t from = put_room(p, 1024);
    put_number(p, (uintptr_t)l->object);
    put_text(p, l->waits_for == WAIT_POLL ? " ..." : "");
    put_pad(p, from, 10);
    put_number(p, l->id);
    put_pad(p, from, 18);
    put_name(p, l->name);
    put_pad(p, from, 35);
    put_seconds(p, l->since ? now - l->since : 0, 3);
    put_pad(p, from, 46);
    describe_descriptor(p, (int)(uintptr_t)l->object);
    put_char(p, '\n');
}

static void answer_fds(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    (void)rest;
    put_text(p, "ok\nfd        thread  name             for s      what\n");
    each(p, fds_line);
}

static void timers_line(struct put *p, const struct green_look *l, int64_t now)
{
    if (l->state != LOOK_PARKED || l->deadline == DEADLINE_NEVER)
        return;
    size_t from = put_room(p, 1024);
    put_seconds(p, l->deadline - now, 3);
    put_pad(p, from, 12);
    put_number(p, l->id);
    put_pad(p, from, 20);
    put_name(p, l->name);
    put_pad(p, from, 37);
    put_text(p, words_wait(l->waits_for));
    put_char(p, '\n');
}

static void answer_timers(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    (void)rest;
    put_text(p, "ok\ndue in s    thread  name             waits for\n");
    each(p, timers_line);
}

static struct lock_row {
    const void *object;
    enum wait_kind kind;
    uint64_t waiters, first;
    int64_t since;
} lock_rows[LOCKS];
static size_t lock_rows_used, lock_rows_lost;

static void locks_note(struct put *p, const struct green_look *l, int64_t now)
{
    (void)p;
    (void)now;
    if (l->state != LOOK_PARKED || l->waits_for < WAIT_MUTEX || l->waits_for > WAIT_FILE ||
        l->waits_for == WAIT_JOIN)
        return;
    size_t i = 0;
    while (i < lock_rows_used &&
           (lock_rows[i].object != l->object || lock_rows[i].kind != l->waits_for))
        i++;
    if (i == LOCKS) {
        lock_rows_lost++;
        return;
    }
    if (i == lock_rows_used) {
        lock_rows_used++;
        lock_rows[i] = (struct lock_row){l->object, l->waits_for, 0, l->id, l->since};
    }
    lock_rows[i].waiters++;
    if (l->since && l->since < lock_rows[i].since)
        lock_rows[i].since = l->since;
}

static void answer_locks(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    (void)rest;
    int64_t now = clock_now();
    lock_rows_used = lock_rows_lost = 0;
    each(p, locks_note);
    put_text(p, "ok\nkind          waiters  longest s   owner     lock\n");
    for (size_t i = 0; i < lock_rows_used; i++) {
        const struct lock_row *r = &lock_rows[i];
        size_t from = put_room(p, 1024);
        uint64_t owner = 0;
        pid_t tid = r->kind == WAIT_MUTEX ? describe_owner(r->object, &owner) : 0;
        put_text(p, words_wait(r->kind));
        put_pad(p, from, 14);
        put_number(p, r->waiters);
        put_pad(p, from, 23);
        put_seconds(p, r->since ? now - r->since : 0, 3);
        put_pad(p, from, 35);
        if (owner)
            put_number(p, owner);
        else if (tid) {
            put_text(p, "os ");
            put_number(p, (uint64_t)tid);
        } else {
            put_char(p, '-');
        }
        put_pad(p, from, 45);
        describe_object(p, (uintptr_t)r->object);
        put_char(p, '\n');
    }
    if (lock_rows_lost)
        field(p, "waiters for more locks:", lock_rows_lost);
}

static void answer_stats(struct put *p, struct answer *a, const char *rest)
{
    struct hub_stats s;
    struct hub_look h;
    (void)a;
    (void)rest;
    hub_stats(&s);
    put_text(p, "ok\n");
    field(p, "pid", (uint64_t)sys_0(SYS_getpid));
    field(p, "green_threads", s.created);
    field(p, "alive", s.alive);
    field(p, "at_most_at_once", s.peak);
    field(p, "switches", s.switches);
    field(p, "parks", s.parks);
    field(p, "polls", s.polls);
    field(p, "handoffs", s.handoffs);
    field(p, "detaches", s.detaches);
    field(p, "rejoins", s.rejoins);
    field(p, "offloads", s.offloads);
    field(p, "OS_threads", s.os_threads);
    field(p, "OS_threads_at_most", s.os_threads_peak);
    for (unsigned i = 0; i < HUBS && hub_look_at(i, &h); i++) {
        put_text(p, "hub ");
        put_number(p, i);
        put_text(p, h.asleep ? " asleep, " : " awake, ");
        put_number(p, h.runnable);
        put_text(p, " runnable, ");
        put_number(p, h.timers);
        put_text(p, " timers\n");
    }
    for (unsigned id = 0; id < PATCH_COUNT; id++) {
        uint64_t n = atomic_load_explicit(&patch_calls[id], memory_order_relaxed);
        if (!n)
            continue;
        put_text(p, "calls.");
        field(p, patch_name[id], n);
    }
}

static void answer_trace(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    bool on = strcmp(rest, "on") == 0;
    if (!on && strcmp(rest, "off") != 0)
        put_text(p, "error: trace on, or trace off\n");
    else if (!trace_switch(on))
        put_text(p, "error: the program was not started with --trace\n");
    else
        put_text(p, on ? "ok\ntracing\n" : "ok\nnot tracing\n");
}

static void answer_log(struct put *p, struct answer *a, const char *rest)
{
    (void)a;
    if (trace_log(rest))
        put_text(p, "ok\n");
    else
        put_text(p, "error: log off, log threads, or log all\n");
}

static void cancel(struct answer *a)
{
    green_pthread_cancel((pthread_t)a->tp);
}

static void answer_cancel(struct put *p, struct answer *a, const char *rest)
{
    struct green_look l;
    if (!chosen(p, rest, &l))
        return;
    a->tp = l.green->coro.tp;
    a->act = a->tp ? cancel : NULL; /* 0: it has ended */
    put_text(p, "ok\ncancelled ");
    put_number(p, l.id);
    put_text(p, " (");
    put_name(p, l.name);
    put_text(p, ")\n");
}

static const struct {
    const char *name;
    void (*answer)(struct put *p, struct answer *a, const char *rest);
} commands[] = {
    {"ps", answer_ps},         {"bt", answer_bt},       {"fds", answer_fds},
    {"timers", answer_timers}, {"locks", answer_locks}, {"stats", answer_stats},
    {"top", answer_top},       {"trace", answer_trace}, {"cancel", answer_cancel},
    {"log", answer_log},
};

void answer_report(void *arg)
{
    static struct put p;
    struct answer *a = arg;
    size_t length = strcspn(a->line, " ");
    const char *rest = a->line + length + strspn(a->line + length, " ");
    put_start(&p, a->fd);
    report_begin();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == length && memcmp(commands[i].name, a->line, length) == 0) {
            commands[i].answer(&p, a, rest);
            put_flush(&p);
            return;
        }
    put_text(&p, "error: there is no such command; there are");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        put_char(&p, ' ');
        put_text(&p, commands[i].name);
    }
    put_char(&p, '\n');
    put_flush(&p);
}
