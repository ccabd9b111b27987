#include "hub/debug/watch.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "coro/sys.h"
#include "hub/debug/blocking.h"
#include "hub/debug/deadlock.h"
#include "hub/hub.h"
#include "preload/config.h"

enum { WATCH_STACK = 64 * 1024, DEADLOCK_NS = 200000000, TICK_MIN_NS = 1000000 };

static _Atomic bool watch_running;

static int64_t watch_tick(void)
{
    int64_t tick = DEADLOCK_NS;
    if (config.detect_blocking && config.detect_blocking / 4 < tick)
        tick = config.detect_blocking / 4;
    return tick < TICK_MIN_NS ? TICK_MIN_NS : tick;
}

static void *watch_main(void *unused)
{
    (void)unused;
    native_begin();
    sys_5(SYS_prctl, 15 /* PR_SET_NAME */, "green-watch", 0, 0, 0);
    int64_t tick = watch_tick(), deadlocks_at = 0;
    for (;;) {
        struct timespec ts = {tick / 1000000000, tick % 1000000000};
        sys_2(SYS_nanosleep, &ts, 0);
        int64_t now = clock_now();
        if (config.detect_blocking)
            blocking_look(now);
        if (config.on_deadlock != GREEN_DEADLOCK_IGNORE && now >= deadlocks_at) {
            deadlock_look();
            deadlocks_at = now + DEADLOCK_NS;
        }
    }
    return NULL;
}

void watch_run(void)
{
    if (atomic_exchange(&watch_running, true))
        return;
    if (config.detect_blocking)
        blocking_start();
    if (native_thread(watch_main, NULL, WATCH_STACK))
        atomic_store(&watch_running, false);
}

void watch_fork(void)
{
    atomic_store(&watch_running, false);
}
