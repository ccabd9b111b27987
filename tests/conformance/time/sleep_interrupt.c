/* Signals end a sleep: EINTR, and the rest of the time where the call tells it; SA_RESTART makes no difference. */
#include "check.h"

#include <signal.h>
#include <threads.h>

static int handled, asleep, sent;
static struct timespec minute = { 60, 0 };

static void on_signal(int number)
{
    (void)number;
    atomic_add(&handled, 1);
}

static void handle(int flags)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

/* The thread's value, which it returns once a signal has ended its sleep. */
static intptr_t interrupt(pthread_t thread)
{
    void *value = NULL;
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (pthread_tryjoin_np(thread, &value) == EBUSY && ms_since(began) < 10000) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
    }
    return (intptr_t)value;
}

/* The kernel counts its timer's slack as a part of the rest: of a sleep that had hardly begun it is a bit more. */
static int rest_makes_sense(const struct timespec *rest)
{
    return rest->tv_nsec >= 0 && rest->tv_nsec < 1000000000 &&
           (rest->tv_sec == 60 ? rest->tv_nsec < 10000000 : rest->tv_sec >= 40 && rest->tv_sec < 60);
}

static void *nanosleep_interrupted(void *argument)
{
    struct timespec rest = { 0, 0 };
    (void)argument;
    errno = 0;
    int result = nanosleep(&minute, &rest);
    return (void *)(intptr_t)(result == -1 && errno == EINTR && rest_makes_sense(&rest));
}

static void *clock_nanosleep_interrupted(void *argument)
{
    struct timespec rest = { 0, 0 };
    int result = clock_nanosleep((clockid_t)(intptr_t)argument, 0, &minute, &rest);
    return (void *)(intptr_t)(result == EINTR && rest_makes_sense(&rest));
}

static void *absolute_interrupted(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_MONOTONIC, 60000), rest = { 77, 77 };
    (void)argument;
    int result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, &rest);
    return (void *)(intptr_t)(result == EINTR && rest.tv_sec == 77 && rest.tv_nsec == 77);
}

static void *sleep_interrupted(void *argument)
{
    (void)argument;
    unsigned rest = sleep(60);
    return (void *)(intptr_t)(rest >= 40 && rest <= 60);
}

static void *usleep_interrupted(void *argument)
{
    (void)argument;
    errno = 0;
    return (void *)(intptr_t)(usleep(60000000) == -1 && errno == EINTR);
}

static void *thrd_sleep_interrupted(void *argument)
{
    struct timespec rest = { 0, 0 };
    (void)argument;
    return (void *)(intptr_t)(thrd_sleep(&minute, &rest) == -1 && rest_makes_sense(&rest));
}

static void *in_place_interrupted(void *argument)
{
    struct timespec time = minute;
    (void)argument;
    int result = nanosleep(&time, &time);
    return (void *)(intptr_t)(result == -1 && rest_makes_sense(&time));
}

static void every_form_is_interrupted(void)
{
    for (int restart = 0; restart < 2; restart++) {
        handle(restart ? SA_RESTART : 0);
        EXPECT_EQ(interrupt(start(nanosleep_interrupted, NULL)), 1);
        EXPECT_EQ(interrupt(start(clock_nanosleep_interrupted, (void *)CLOCK_REALTIME)), 1);
        EXPECT_EQ(interrupt(start(clock_nanosleep_interrupted, (void *)CLOCK_MONOTONIC)), 1);
        EXPECT_EQ(interrupt(start(clock_nanosleep_interrupted, (void *)CLOCK_BOOTTIME)), 1);
        EXPECT_EQ(interrupt(start(absolute_interrupted, NULL)), 1);
        EXPECT_EQ(interrupt(start(sleep_interrupted, NULL)), 1);
        EXPECT_EQ(interrupt(start(usleep_interrupted, NULL)), 1);
        EXPECT_EQ(interrupt(start(thrd_sleep_interrupted, NULL)), 1);
        EXPECT_EQ(interrupt(start(in_place_interrupted, NULL)), 1);
    }
}

static void *sleep_in_pieces(void *argument)
{
    struct timespec rest = { 0, 100000000 };
    int64_t began = now_ns(CLOCK_MONOTONIC);
    atomic_set(&asleep, 1);
    while (nanosleep(&rest, &rest) == -1) {
        EXPECT_EQ(errno, EINTR);
    }
    atomic_set(&asleep, 0);
    EXPECT(now_ns(CLOCK_MONOTONIC) - began >= 100000000);
    return argument;
}

static void the_rests_add_up(void)
{
    handle(0);
    atomic_set(&handled, 0);
    atomic_set(&asleep, 0);
    pthread_t thread = start(sleep_in_pieces, NULL);
    EXPECT(wait_for_value(&asleep, 1));
    while (atomic_get(&asleep)) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(5);
    }
    finish(thread);
    EXPECT(atomic_get(&handled) > 0);
}

static void *sleep_with_ignored_signals(void *argument)
{
    struct timespec duration = { 0, 50000000 };
    atomic_set(&asleep, 1);
    EXPECT_EQ(nanosleep(&duration, NULL), 0);
    atomic_set(&asleep, 0);
    return argument;
}

static void ignored_signals_do_not_interrupt(void)
{
    signal(SIGUSR1, SIG_IGN);
    atomic_set(&asleep, 0);
    pthread_t thread = start(sleep_with_ignored_signals, NULL);
    EXPECT(wait_for_value(&asleep, 1));
    while (atomic_get(&asleep)) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(2);
    }
    finish(thread);
}

static void *sleep_blocked(void *argument)
{
    struct timespec duration = { 0, 50000000 };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    atomic_set(&asleep, 1);
    do {
        EXPECT_EQ(nanosleep(&duration, NULL), 0);
    } while (!atomic_get(&sent));
    EXPECT_EQ(atomic_get(&handled), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    EXPECT_EQ(atomic_get(&handled), 1);
    return argument;
}

static void blocked_signals_wait(void)
{
    handle(0);
    atomic_set(&handled, 0);
    atomic_set(&asleep, 0);
    pthread_t thread = start(sleep_blocked, NULL);
    EXPECT(wait_for_value(&asleep, 1));
    pthread_kill(thread, SIGUSR1);
    atomic_set(&sent, 1);
    finish(thread);
}

static const struct check checks[] = {
    CHECK(every_form_is_interrupted),
    CHECK(the_rests_add_up),
    CHECK(ignored_signals_do_not_interrupt),
    CHECK(blocked_signals_wait),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
