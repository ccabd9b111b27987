#include "hub/debug/report.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "coro/sys.h"
#include "hub/debug/modules.h"
#include "hub/debug/symbols.h"
#include "hub/debug/unwind.h"

enum { REPORT_STACK = 96 * 1024, REPORT_TAKEN = -1 };

/* The reporter's id, 0 when there is none: the kernel clears it when the stack is out of use. */
static _Atomic int report_thread;
static _Atomic bool report_awaited; /* somebody is in report_run_within() */
static char report_stack[REPORT_STACK] __attribute__((aligned(64)));

static struct {
    void (*fn)(void *);
    void *arg;
} report_job; /* of who has set report_thread */

static int report_main(void *unused)
{
    (void)unused;
    report_job.fn(report_job.arg);
    return 0;
}

bool report_run(void (*fn)(void *arg), void *arg, bool wait)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&report_thread, &none, REPORT_TAKEN))
        return false;
    report_job.fn = fn;
    report_job.arg = arg;
    uint64_t all = ~UINT64_C(0), before;
    int saved = errno;
    sys_4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &before, sizeof all);
    int made = clone(report_main, report_stack + sizeof report_stack,
                     CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                         CLONE_CHILD_CLEARTID,
                     NULL, NULL, NULL, &report_thread);
    sys_4(SYS_rt_sigprocmask, 2, &before, 0, sizeof before);
    errno = saved;
    if (made < 0) {
        atomic_store(&report_thread, 0);
        return false;
    }
    while (wait && atomic_load(&report_thread))
        sys_6(SYS_futex, &report_thread, FUTEX_WAIT, REPORT_TAKEN, 0, 0, 0);
    return true;
}

bool report_run_within(int ms, void (*fn)(void *arg), void *arg)
{
    enum { TRY_MS = 5 };
    struct timespec ts = {0, TRY_MS * 1000000L};
    atomic_store(&report_awaited, true);
    bool made = report_run(fn, arg, true);
    for (int waited = 0; !made && waited < ms; waited += TRY_MS) {
        sys_2(SYS_nanosleep, &ts, 0);
        made = report_run(fn, arg, true);
    }
    atomic_store(&report_awaited, false);
    return made;
}

bool report_is_awaited(void)
{
    return atomic_load(&report_awaited);
}

void report_begin(void)
{
    modules_load();
    symbols_forget();
    unwind_forget();
}

void report_fork(void)
{
    atomic_store(&report_thread, 0);
    atomic_store(&report_awaited, false);
}
