/* Two things are looked for.
 *
 * A cycle: each waits, without a time limit, for a lock that the next holds or for the next to end.
 * That is a deadlock whatever the rest of the program does.
 *
 * A standstill: every hub sleeps without a timer, and every green thread waits for a lock, a
 * condition or another one's end, so that none of them can wake any; and there is nobody else: no OS
 * thread of the program's own and, where somebody waits for a semaphore, a futex or a condition, no
 * signal handler: it may post the semaphore, and a condition's waiter that ran one looks again.
 *
 * Threads that stand still are cheap to tell: what is suspected at one look is reported at the next
 * one, if none of those concerned has run in between.
 */
#include "hub/debug/deadlock.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "coro/sys.h"
#include "hub/debug/debugging.h"
#include "hub/debug/describe.h"
#include "hub/debug/peek.h"
#include "hub/debug/report.h"
#include "gen/real.h"
#include "hub/look.h"
#include "preload/config.h"

enum { HUBS = 256, SLICE = 64, CYCLE_MAX = 32, SAID = 16, SHOWN = 1000 };

/* All of the watch thread, and of the reporter that it waits for. */
static struct green_look slice[SLICE];
static struct green_look cycle[CYCLE_MAX], suspect[CYCLE_MAX];
static size_t suspect_count;
static uint64_t said[SAID]; /* cycles that were reported */
static unsigned said_next;
static uint64_t still_switches; /* of all hubs, when a standstill was suspected */
static bool still_suspected, still_said;

/* ---- Who waits for whom -------------------------------------------------------------------------- */

/* Whom l waits for, if that is one green thread and l waits without a limit. */
static bool waits_for_one(const struct green_look *l, struct green_look *other)
{
    int word = 0;
    if (l->state != LOOK_PARKED || l->deadline != DEADLINE_NEVER)
        return false;
    switch (l->waits_for) {
    case WAIT_MUTEX:
        return describe_owner_look(l->object, other);
    case WAIT_RWLOCK: /* who holds it for writing; struct __pthread_rwlock_arch_t */
        return peek(&word, (uintptr_t)l->object + 24, sizeof word) && word &&
               green_find(0, word, other);
    case WAIT_JOIN:
        look_at((struct green *)l->object, other);
        return other->state != LOOK_ENDED;
    default:
        return false;
    }
}

/* The cycle that begins and ends with l, in cycle[]; its length, 0 when there is none. Only the one
 * that l, with the lowest id in it, begins counts: each is found once. */
static size_t cycle_from(const struct green_look *l)
{
    cycle[0] = *l;
    for (size_t n = 1; n < CYCLE_MAX; n++) {
        if (!waits_for_one(&cycle[n - 1], &cycle[n]))
            return 0;
        if (cycle[n].id == l->id)
            return n;
        if (cycle[n].id < l->id)
            return 0;
    }
    return 0;
}

static uint64_t cycle_key(size_t n)
{
    uint64_t key = n;
    for (size_t i = 0; i < n; i++)
        key = (key ^ cycle[i].id ^ (uintptr_t)cycle[i].object) * UINT64_C(0x9E3779B97F4A7C15);
    return key | 1;
}

/* ---- What is said ------------------------------------------------------------------------------- */

static void say_one(struct put *p, const struct green_look *l)
{
    put_text(p, "  green thread ");
    put_number(p, l->id);
    put_text(p, " (");
    put_name(p, l->name);
    put_text(p, ") waits for ");
    describe_wait(p, l, clock_now());
    put_char(p, '\n');
    describe_stack(p, l, "        ");
}

static void say_cycle(void *arg)
{
    static struct put p;
    size_t n = *(size_t *)arg;
    report_begin();
    put_start(&p, 2);
    put_text(&p, "libgreen: deadlock: ");
    if (n == 1) {
        put_text(&p, "a green thread waits for itself\n");
    } else {
        put_number(&p, n);
        put_text(&p, " green threads wait for each other\n");
    }
    for (size_t i = 0; i < n; i++)
        say_one(&p, &cycle[i]);
    put_flush(&p);
}

static void say_standstill(void *unused)
{
    static struct put p;
    static struct green_look looks[SLICE];
    (void)unused;
    report_begin();
    put_start(&p, 2);
    put_text(&p, "libgreen: deadlock: all ");
    put_number(&p, green_count());
    put_text(&p, " green threads wait for each other, and nothing is left to wake any\n");
    size_t n, shown = 0;
    while (shown < SHOWN && (n = green_slice(LOOK_REPORT, looks, SLICE, shown == 0, NULL)))
        for (size_t i = 0; i < n; i++, shown++)
            say_one(&p, &looks[i]);
    put_flush(&p);
}

/* As abort() does, but for the program's handler of it: that could do nothing about this. */
static void deadlock_reported(void)
{
    if (config.on_deadlock != GREEN_DEADLOCK_ABORT)
        return;
    struct sigaction act = {.sa_handler = SIG_DFL};
    real.sigaction(SIGABRT, &act, NULL);
    uint64_t none = 0;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
    sys_3(SYS_tgkill, sys_0(SYS_getpid), sys_0(SYS_gettid), SIGABRT);
}

/* ---- Looking ------------------------------------------------------------------------------------- */

static bool cycle_said(uint64_t key)
{
    for (unsigned i = 0; i < SAID; i++)
        if (said[i] == key)
            return true;
    return false;
}

static void cycle_found(size_t n)
{
    uint64_t key = cycle_key(n);
    if (cycle_said(key))
        return;
    bool same = suspect_count == n;
    for (size_t i = 0; same && i < n; i++)
        same = suspect[i].id == cycle[i].id && suspect[i].switches == cycle[i].switches &&
               look_holds(&suspect[i]);
    if (same && report_run(say_cycle, &n, true)) {
        said[said_next++ % SAID] = key;
        suspect_count = 0;
        deadlock_reported();
    } else {
        memcpy(suspect, cycle, n * sizeof cycle[0]);
        suspect_count = n;
    }
}

/* What one thread means for a standstill. */
enum standing { STANDS, STANDS_FOR_HANDLER, MAY_MOVE };

static enum standing standing_of(const struct green_look *l)
{
    if (l->state != LOOK_PARKED || l->deadline != DEADLINE_NEVER)
        return MAY_MOVE;
    switch (l->waits_for) {
    case WAIT_MUTEX:
    case WAIT_RWLOCK:
    case WAIT_BARRIER:
    case WAIT_ONCE:
    case WAIT_JOIN:
    case WAIT_FILE:
        return STANDS;
    case WAIT_COND:
    case WAIT_SEM:
    case WAIT_FUTEX:
        return STANDS_FOR_HANDLER;
    default:
        return MAY_MOVE;
    }
}

static bool hubs_sleep(uint64_t *switches)
{
    struct hub_look h;
    *switches = 0;
    for (unsigned i = 0; i < HUBS && hub_look_at(i, &h); i++) {
        if (!h.asleep || h.runnable || h.commands || h.next_deadline != DEADLINE_NEVER)
            return false;
        *switches += h.switches;
    }
    return true;
}

static unsigned os_threads(void)
{
    static char entries[4096];
    unsigned count = 0;
    long n, fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/task",
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return ~0U;
    while ((n = sys_3(SYS_getdents64, fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            uint16_t length;
            memcpy(&length, entries + at + 16, sizeof length); /* struct linux_dirent64 */
            count += entries[at + 19] != '.';
            at += length;
        }
    sys_1(SYS_close, fd);
    return count;
}

static bool handlers_exist(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    for (int sig = 1; sig < 65; sig++) {
        struct sigaction act;
        bool fault = false;
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
            fault |= sig == faults[i];
        if (!fault && sig != 32 && sig != 33 && !debug_signal(sig) &&
            real.sigaction(sig, NULL, &act) == 0 && act.sa_handler != SIG_DFL &&
            act.sa_handler != SIG_IGN)
            return true;
    }
    return false;
}

static void standstill_found(uint64_t switches, bool for_handler)
{
    if (os_threads() > hub_os_threads() || (for_handler && handlers_exist()))
        return;
    uint64_t now;
    if (!still_suspected || still_switches != switches) {
        still_suspected = true;
        still_switches = switches;
        still_said = false;
    } else if (!still_said && hubs_sleep(&now) && now == switches &&
               report_run(say_standstill, NULL, true)) {
        still_said = true;
        deadlock_reported();
    }
}

void deadlock_look(void)
{
    uint64_t switches;
    bool still = hubs_sleep(&switches), for_handler = false, first = true, any = false;
    size_t n;
    if (still && still_suspected && still_said && still_switches == switches)
        return;
    while ((n = green_slice(LOOK_WATCH, slice, SLICE, first, NULL))) {
        first = false;
        for (size_t i = 0; i < n; i++) {
            enum standing s = standing_of(&slice[i]);
            still &= s != MAY_MOVE;
            for_handler |= s == STANDS_FOR_HANDLER;
            size_t length = s == STANDS ? cycle_from(&slice[i]) : 0;
            if (length) {
                cycle_found(length);
                any = true;
            }
        }
    }
    if (!any)
        suspect_count = 0;
    if (still && !first && !any)
        standstill_found(switches, for_handler);
    else
        still_suspected = false;
}
