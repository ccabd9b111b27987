/* The words that a thread and the monitor tell each other by (hub/handoff.c), with a monitor that asks and
 * takes its request back all the time. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "coro/libc.h"
#include "hub/hub.h"
#include "hub/internal.h"

enum { ENTRIES = 3000000 };

static struct green main_green;
static _Atomic bool ended;

/* Strict: libgreen's own monitor asks for nothing. */
static void hub_begin(void)
{
    const char *why = coro_start();
    cr_assert_null(why, "%s", why);
    const struct hub_settings settings = {.strict = true, .max_carriers = 64, .offload_threads = 2};
    cr_assert_eq(hub_start(&main_green, sizeof main_green, &settings), 0);
}

static void *ask_and_take_back(void *unused)
{
    (void)unused;
    while (!atomic_load(&ended)) {
        int own = OWN_ATTACHED;
        if (!atomic_compare_exchange_strong(&main_green.tls->own, &own, OWN_REQUESTED))
            continue;
        own = OWN_REQUESTED;
        atomic_compare_exchange_strong(&main_green.tls->own, &own, OWN_ATTACHED);
    }
    return NULL;
}

/* Who finds a request, and finds it gone as it answers, still has its hub: one that gave it up then would
 * be waited for by nobody. */
Test(handoff, a_request_that_is_taken_back_leaves_the_hub, .timeout = 30)
{
    pthread_t monitor;
    struct hub_stats stats;
    hub_begin();
    cr_assert_eq(pthread_create(&monitor, NULL, ask_and_take_back, NULL), 0);
    for (long i = 0; i < ENTRIES; i++) {
        cr_assert_eq(enter(), &main_green);
        leave();
        if (i % 64 == 0)
            cr_assert_eq(self_attach(), &main_green);
    }
    atomic_store(&ended, true);
    pthread_join(monitor, NULL);
    hub_stats(&stats);
    cr_assert_eq(stats.rejoins, 0);
    cr_assert_eq(atomic_load(&hub_all[0]->current), &main_green);
}
