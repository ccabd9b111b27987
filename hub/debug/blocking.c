/* A stint is a green thread's run from a switch to the next. One that lasts too long is looked at
 * once: the functions on its stack are the place, and places are counted. */
#include "hub/debug/blocking.h"

#include <stdatomic.h>
#include <string.h>

#include "coro/lock.h"
#include "coro/sys.h"
#include "hub/debug/calls.h"
#include "hub/debug/capture.h"
#include "hub/debug/describe.h"
#include "hub/debug/report.h"
#include "hub/debug/symbols.h"
#include "hub/debug/unwind.h"
#include "hub/look.h"
#include "preload/config.h"

enum { HUBS = 256, LOST = 64, PLACES = 256, FRAMES = 32, KEY_FRAMES = 8, SUMMARY = 160, TRIES = 8 };

struct stint {
    struct green *green; /* NULL: none */
    uint64_t switches;   /* of the hub, or of the green thread once it has lost its hub */
    int64_t since;
    int place; /* of places[] + 1, once reported; 0: not yet, -1: looked at, and there was nothing */
    int tries; /* times that it was looked at and did not answer */
};

/* Of the watch thread. */
static struct stint on_hub[HUBS];

/* Those that lost their hub: put there by the monitor, taken by the watch thread. */
static struct lock lost_lock;
static struct stint lost[LOST]; /* lost_lock */

/* Written by the reporter while the watch thread waits for it; read at exit. */
static struct place {
    uint64_t key;
    uint64_t count;
    int64_t longest;
    char summary[SUMMARY];
} places[PLACES];
static int places_used;

/* ---- The report ---------------------------------------------------------------------------------- */

struct blocking_job {
    struct stint *stint;
    struct green_look look;
    int64_t now;
    int place;
};

static int place_find(uint64_t key)
{
    for (int i = 0; i < places_used; i++)
        if (places[i].key == key)
            return i;
    return -1;
}

/* The same functions, called by the same: wherever in them it was caught. */
static uint64_t place_key(const uintptr_t *pcs, size_t n)
{
    uint64_t key = n;
    for (size_t i = 0; i < n && i < KEY_FRAMES; i++) {
        const struct symbol *s = symbol_of(pcs[i]);
        key = (key ^ (pcs[i] - (s->name[0] ? s->offset : 0))) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return key | 1;
}

static void place_summary(char *to, const uintptr_t *pcs, size_t n, const struct capture_call *call)
{
    static struct put p;
    put_start(&p, -1);
    if (call->number >= 0) {
        calls_put(&p, call->number);
        put_text(&p, " < ");
    }
    for (size_t i = 0, shown = 0; i < n && shown < 4; i++) {
        const struct symbol *s = symbol_of(pcs[i]);
        if (s->module && s->module->ours)
            continue;
        put_text(&p, shown++ ? " < " : "");
        put_name(&p, s->name[0] ? s->name : s->module ? module_base(s->module) : "??");
    }
    size_t length = p.used < SUMMARY - 1 ? p.used : SUMMARY - 1;
    memcpy(to, p.text, length);
    to[length] = 0;
}

static void blocking_say(const struct blocking_job *job, const uintptr_t *pcs, size_t n,
                         const struct capture_call *call)
{
    static struct put p;
    put_start(&p, 2);
    put_text(&p, "libgreen: green thread ");
    put_number(&p, job->look.id);
    put_text(&p, " (");
    put_name(&p, job->look.name);
    put_text(&p, ") has kept its carrier for ");
    put_seconds(&p, job->now - job->stint->since, 3);
    if (call->number >= 0) {
        put_text(&p, " s, in the system call ");
        calls_put(&p, call->number);
        put_char(&p, '\n');
    } else {
        put_text(&p, " s, computing\n");
    }
    describe_frames(&p, pcs, n, "        ");
    put_flush(&p);
}

static void blocking_report(void *arg)
{
    static uintptr_t pcs[FRAMES];
    struct blocking_job *job = arg;
    struct unwind_regs regs;
    struct capture_call call;
    report_begin();
    job->place = -1;
    if (!capture(job->look.os_thread, &regs, &call)) {
        if (++job->stint->tries < TRIES)
            job->place = 0; /* a busy machine has not let it run */
        return;
    }
    bool same = look_holds(&job->look);
    size_t n = same ? unwind_walk(&regs, pcs, FRAMES) : 0;
    capture_release();
    if (!n || !look_holds(&job->look))
        return;
    uint64_t key = place_key(pcs, n);
    int at = place_find(key);
    bool fresh = at < 0;
    if (fresh && places_used == PLACES)
        return;
    if (fresh) {
        at = places_used;
        places[at] = (struct place){.key = key};
        place_summary(places[at].summary, pcs, n, &call);
        places_used++;
        blocking_say(job, pcs, n, &call);
    }
    places[at].count++;
    job->place = at + 1;
}

static void stint_look(struct stint *s, int64_t now)
{
    if (now - s->since < config.detect_blocking)
        return;
    if (!s->place) {
        struct blocking_job job = {.stint = s, .now = now};
        look_at(s->green, &job.look);
        if (!job.look.os_thread || report_is_awaited() || !report_run(blocking_report, &job, true))
            return;
        s->place = job.place;
    }
    if (s->place > 0 && places[s->place - 1].longest < now - s->since)
        places[s->place - 1].longest = now - s->since;
}

/* ---- Who has gone on for how long --------------------------------------------------------------- */

/* The monitor has taken the hub from g. */
static void blocking_detached(struct green *g, int64_t since)
{
    lock_acquire(&lost_lock);
    for (int i = 0; i < LOST; i++) {
        if (lost[i].green)
            continue;
        struct green_look l;
        look_at(g, &l);
        lost[i] = (struct stint){.green = g, .switches = l.switches, .since = since};
        for (int h = 0; h < HUBS; h++) /* reported already while it had the hub? */
            if (on_hub[h].green == g && on_hub[h].since <= since + config.detect_blocking)
                lost[i].place = on_hub[h].place;
        break;
    }
    lock_release(&lost_lock);
}

static void blocking_look_hub(unsigned i, const struct hub_look *h, int64_t now)
{
    struct stint *s = &on_hub[i];
    if (h->asleep || !h->current) {
        s->green = NULL;
    } else if (s->green != h->current || s->switches != h->switches) {
        *s = (struct stint){.green = h->current, .switches = h->switches, .since = now};
    } else {
        stint_look(s, now);
    }
}

void blocking_look(int64_t now)
{
    struct hub_look h;
    for (unsigned i = 0; i < HUBS && hub_look_at(i, &h); i++)
        blocking_look_hub(i, &h, now);
    for (int i = 0; i < LOST; i++) {
        lock_acquire(&lost_lock);
        struct stint s = lost[i];
        lock_release(&lost_lock);
        if (!s.green)
            continue;
        struct green_look l;
        look_at(s.green, &l);
        if (l.state != LOOK_DETACHED || l.switches != s.switches)
            s.green = NULL;
        else
            stint_look(&s, now);
        lock_acquire(&lost_lock);
        lost[i] = s;
        lock_release(&lost_lock);
    }
}

void blocking_start(void)
{
    hub_detached_hook = blocking_detached;
}

void blocking_fork(void)
{
    lock_init(&lost_lock);
    memset(lost, 0, sizeof lost);
    memset(on_hub, 0, sizeof on_hub);
    places_used = 0;
}

/* ---- At exit -------------------------------------------------------------------------------------- */

void blocking_print(void)
{
    static _Atomic bool printed;
    static struct put p;
    int n = places_used;
    if (n == 0 || atomic_exchange(&printed, true))
        return;
    put_start(&p, 2);
    put_text(&p, "libgreen: places that kept their carrier for longer than ");
    put_seconds(&p, config.detect_blocking, 3);
    put_text(&p, " s:\n   count  longest s  place\n");
    for (int i = 0; i < n; i++) {
        size_t from = put_room(&p, 512);
        for (uint64_t bound = 10000000; bound > 1 && places[i].count < bound; bound /= 10)
            put_char(&p, ' ');
        put_number(&p, places[i].count);
        put_pad(&p, from, 13);
        put_seconds(&p, places[i].longest, 3);
        put_pad(&p, from, 21);
        put_text(&p, places[i].summary);
        put_char(&p, '\n');
    }
    put_flush(&p);
}
