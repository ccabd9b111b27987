/*
 * A signal for the process, which one thread only lets in while others come and go: it computes, makes no call, and
 * its handler runs all the same.
 */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum { TIMES = 20, LATER_US = 15000, PATIENCE_MS = 10000 };

static atomic_int handled;
static atomic_int over;

static void on_alarm(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void *come_and_go(void *argument)
{
    while (!atomic_load(&over)) {
        sched_yield();
    }
    return argument;
}

static void *compute_until_alarmed(void *argument)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (int i = 0; i < TIMES; i++) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        ualarm(LATER_US, 0);
        while (atomic_load(&handled) == i && ms_since(began) < PATIENCE_MS) {
        }
        EXPECT_EQ(atomic_load(&handled), i + 1);
    }
    return argument;
}

static void a_thread_that_computes_is_alarmed(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGALRM, on_alarm);
    pthread_t other = start(come_and_go, NULL);
    finish(start(compute_until_alarmed, NULL));
    atomic_store(&over, 1);
    finish(other);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(a_thread_that_computes_is_alarmed),
    };
    return CHECKS_RUN(checks, argc, argv);
}
