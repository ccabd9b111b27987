#include "hub/debug/debugging.h"

#include <signal.h>

#include "coro/sys.h"
#include "hub/debug/blocking.h"
#include "hub/debug/capture.h"
#include "hub/debug/control.h"
#include "hub/debug/dump.h"
#include "hub/debug/lockorder.h"
#include "hub/debug/readers.h"
#include "hub/debug/report.h"
#include "hub/debug/trace.h"
#include "hub/debug/watch.h"
#include "gen/real.h"
#include "hub/hub.h"
#include "preload/config.h"

bool debug_wanted;

static int debug_chosen; /* written at start */

bool debug_signal(int sig)
{
    return sig == debug_chosen || sig == config.dump_signal;
}

static void debug_captured(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    capture_signalled(info, context);
}

/* A signal to stop threads with: that of the dump, else the highest that has no handler. */
static void debug_choose_signal(void)
{
    struct sigaction act = {.sa_sigaction = debug_captured,
                            .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    if (config.dump_signal)
        return;
    for (int sig = 64; sig > 40; sig--) {
        struct sigaction old;
        if (real.sigaction(sig, NULL, &old) || old.sa_handler != SIG_DFL)
            continue;
        real.sigaction(sig, &act, NULL);
        hub_leave_open(sig);
        capture_start(sig, &act);
        debug_chosen = sig;
        return;
    }
}

void debug_start(void)
{
    dump_start();
    debug_wanted = config.detect_blocking || config.on_deadlock != GREEN_DEADLOCK_IGNORE ||
                   config.control[0] || config.trace[0];
    if (config.detect_blocking || config.control[0])
        debug_choose_signal();
    if (config.on_deadlock != GREEN_DEADLOCK_IGNORE)
        lockorder_start();
    if (config.warn_multiple_readers)
        readers_start();
}

void debug_run(void)
{
    if (config.detect_blocking || config.on_deadlock != GREEN_DEADLOCK_IGNORE)
        watch_run();
    if (config.control[0])
        control_run();
    if (config.trace[0])
        trace_run();
}

void debug_fork(void)
{
    report_fork();
    if (!debug_wanted)
        return;
    watch_fork();
    control_fork();
    trace_fork();
    lockorder_fork();
    blocking_fork();
}

void debug_exit(void)
{
    control_exit();
    trace_exit();
    if (config.detect_blocking)
        blocking_print();
}
