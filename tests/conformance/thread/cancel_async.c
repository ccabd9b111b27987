/* Asynchronous cancellation: of a loop without a call, of a blocked thread, of oneself; and what computes and is
 * not to be cancelled meanwhile. */
#include "check.h"

#include <sys/syscall.h>

static char trace[16];
static int running;
static volatile unsigned long counter;

static void note(void *text)
{
    strcat(trace, text);
}

static void *spin_for_ever(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(note, "s");
    atomic_set(&running, 1);
    for (;;) {
        counter++;
    }
    pthread_cleanup_pop(0);
    return argument;
}

static void loop_without_a_call_is_cancelled(void)
{
    trace[0] = 0;
    atomic_set(&running, 0);
    pthread_t thread = start(spin_for_ever, NULL);
    EXPECT(wait_for_value(&running, 1));
    EXPECT_EQ(pthread_cancel(thread), 0);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "s") == 0);
}

static void *sleep_for_long(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(note, "b");
    atomic_set(&running, 1);
    sleep(3600);
    pthread_cleanup_pop(0);
    return argument;
}

static void blocked_thread_is_cancelled(void)
{
    for (int i = 0; i < 20; i++) {
        trace[0] = 0;
        atomic_set(&running, 0);
        pthread_t thread = start(sleep_for_long, NULL);
        EXPECT(wait_for_value(&running, 1));
        EXPECT_EQ(pthread_cancel(thread), 0);
        EXPECT(finish(thread) == PTHREAD_CANCELED);
        EXPECT(strcmp(trace, "b") == 0);
    }
}

static void *cancel_oneself(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(note, "o");
    pthread_cancel(pthread_self());
    note("never");
    pthread_cleanup_pop(0);
    return argument;
}

static void cancelling_oneself_acts_at_once(void)
{
    trace[0] = 0;
    EXPECT(finish(start(cancel_oneself, NULL)) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "o") == 0);
}

static void *turn_asynchronous_with_pending(void *argument)
{
    pthread_cleanup_push(note, "p");
    pthread_cancel(pthread_self());
    note("d");
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    note("never");
    pthread_cleanup_pop(0);
    return argument;
}

static void pending_cancellation_acts_when_turned_asynchronous(void)
{
    trace[0] = 0;
    EXPECT(finish(start(turn_asynchronous_with_pending, NULL)) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "dp") == 0);
}

static void *turn_enabled_with_pending(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_push(note, "e");
    pthread_cancel(pthread_self());
    note("d");
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    note("never");
    pthread_cleanup_pop(0);
    return argument;
}

static void pending_cancellation_acts_when_enabled(void)
{
    trace[0] = 0;
    EXPECT(finish(start(turn_enabled_with_pending, NULL)) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "de") == 0);
}

static void several_loops_are_cancelled(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        atomic_set(&running, 0);
        threads[i] = start(spin_for_ever, NULL);
        EXPECT(wait_for_value(&running, 1));
    }
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(pthread_cancel(threads[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        EXPECT(finish(threads[i]) == PTHREAD_CANCELED);
    }
}

static void *spin_until_told(void *argument)
{
    atomic_set(&running, 1);
    while (atomic_get(&running) == 1) {
        counter++;
    }
    pthread_testcancel();
    return argument;
}

/* Who is cancelled again has been told already. */
static void deferred_loop_is_cancelled_thousands_of_times(void)
{
    atomic_set(&running, 0);
    pthread_t thread = start(spin_until_told, NULL);
    EXPECT(wait_for_value(&running, 1));
    for (int i = 0; i < 500000; i++) {
        EXPECT_EQ(pthread_cancel(thread), 0);
    }
    atomic_set(&running, 2);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
}

static void *wait_by_number(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(note, "n");
    atomic_set(&running, 1);
    struct timespec hour = { .tv_sec = 3600 };
    syscall(SYS_nanosleep, &hour, NULL);
    pthread_cleanup_pop(0);
    return argument;
}

static void system_call_by_its_number_is_cancelled(void)
{
    for (int i = 0; i < 20; i++) {
        trace[0] = 0;
        atomic_set(&running, 0);
        pthread_t thread = start(wait_by_number, NULL);
        EXPECT(wait_for_value(&running, 1));
        EXPECT_EQ(pthread_cancel(thread), 0);
        EXPECT(finish(thread) == PTHREAD_CANCELED);
        EXPECT(strcmp(trace, "n") == 0);
    }
}

static const struct check checks[] = {
    CHECK(loop_without_a_call_is_cancelled),
    CHECK(blocked_thread_is_cancelled),
    CHECK(system_call_by_its_number_is_cancelled),
    CHECK(cancelling_oneself_acts_at_once),
    CHECK(pending_cancellation_acts_when_turned_asynchronous),
    CHECK(pending_cancellation_acts_when_enabled),
    CHECK(several_loops_are_cancelled),
    CHECK(deferred_loop_is_cancelled_thousands_of_times),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
