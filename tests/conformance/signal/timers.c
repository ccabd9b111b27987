/* alarm, setitimer and POSIX timers, by signal, by thread and to one thread. */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static __thread volatile int own;
static int handled;
static volatile siginfo_t seen;

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    own = number;
    seen = *info;
    atomic_add(&handled, 1);
}

static void handle(int number)
{
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
    atomic_set(&handled, 0);
}

static int at_least(const int *counter, int count)
{
    for (int i = 0; i < 5000 && atomic_get(counter) < count; i++) {
        sleep_ms(2);
    }
    return atomic_get(counter) >= count;
}

static int handled_at_least(int count)
{
    return at_least(&handled, count);
}

static void *use_alarm(void *argument)
{
    handle(SIGALRM);
    EXPECT_EQ(alarm(100), 0);
    unsigned left = alarm(1);
    EXPECT(left > 90 && left <= 100);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT(handled_at_least(1));
    EXPECT(ms_since(began) >= 990);
    EXPECT_EQ(alarm(50), 0);
    EXPECT(alarm(0) > 40);
    EXPECT_EQ(alarm(0), 0);
    return argument;
}

static void alarm_rings(void)
{
    finish(start(use_alarm, NULL));
}

static void *use_itimer(void *argument)
{
    struct itimerval once = { { 0, 0 }, { 0, 20000 } }, often = { { 0, 5000 }, { 0, 5000 } }, none = { { 0, 0 }, { 0, 0 } };
    struct itimerval old;
    handle(SIGALRM);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_EQ(setitimer(ITIMER_REAL, &once, NULL), 0);
    EXPECT(handled_at_least(1));
    EXPECT(ms_since(began) >= 19);
    EXPECT_EQ(setitimer(ITIMER_REAL, &often, &old), 0);
    EXPECT(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
    EXPECT(handled_at_least(6));
    EXPECT_EQ(getitimer(ITIMER_REAL, &old), 0);
    EXPECT_EQ(old.it_interval.tv_usec, 5000);
    EXPECT_EQ(setitimer(ITIMER_REAL, &none, NULL), 0);
    EXPECT_ERRNO(setitimer(99, &none, NULL), EINVAL);
    once.it_value.tv_usec = 1000000;
    EXPECT_ERRNO(setitimer(ITIMER_REAL, &once, NULL), EINVAL);
    return argument;
}

static void interval_timers_ring(void)
{
    use_itimer(NULL);
    finish(start(use_itimer, NULL));
}

static void *burn_until_handled(void *argument)
{
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (!atomic_get(&handled) && ms_since(began) < 10000) {
        for (volatile int work = 0; work < 10000; work++) {
        }
    }
    return argument;
}

static void processor_time_timers_ring(void)
{
    struct itimerval soon = { { 0, 0 }, { 0, 10000 } };
    handle(SIGVTALRM);
    EXPECT_EQ(setitimer(ITIMER_VIRTUAL, &soon, NULL), 0);
    finish(start(burn_until_handled, NULL));
    EXPECT_EQ(atomic_get(&handled), 1);
    handle(SIGPROF);
    EXPECT_EQ(setitimer(ITIMER_PROF, &soon, NULL), 0);
    burn_until_handled(NULL);
    EXPECT_EQ(atomic_get(&handled), 1);
}

static timer_t timer_make(clockid_t clock, struct sigevent *event)
{
    timer_t timer = 0;
    EXPECT_EQ(timer_create(clock, event, &timer), 0);
    return timer;
}

static void *use_signal_timer(void *argument)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2 };
    struct itimerspec once = { { 0, 0 }, { 0, 20000000 } }, often = { { 0, 3000000 }, { 0, 3000000 } };
    struct itimerspec none = { { 0, 0 }, { 0, 0 } }, left;
    clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME };
    event.sigev_value.sival_int = 99;
    for (int i = 0; i < 2; i++) {
        handle(SIGRTMIN + 2);
        timer_t timer = timer_make(clocks[i], &event);
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_EQ(timer_settime(timer, 0, &once, NULL), 0);
        EXPECT_EQ(timer_gettime(timer, &left), 0);
        EXPECT(left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= 20000000);
        EXPECT(handled_at_least(1));
        EXPECT(ms_since(began) >= 19);
        EXPECT(seen.si_code == SI_TIMER && seen.si_value.sival_int == 99 && seen.si_signo == SIGRTMIN + 2);
        EXPECT_EQ(timer_settime(timer, 0, &often, NULL), 0);
        EXPECT(handled_at_least(5));
        EXPECT_EQ(timer_settime(timer, 0, &none, NULL), 0);
        struct itimerspec absolute = { { 0, 0 }, ms_from_now(clocks[i], 15) };
        int before = atomic_get(&handled);
        EXPECT_EQ(timer_settime(timer, TIMER_ABSTIME, &absolute, NULL), 0);
        EXPECT(handled_at_least(before + 1));
        EXPECT_EQ(timer_delete(timer), 0);
    }
    return argument;
}

static void posix_timers_send_signals(void)
{
    use_signal_timer(NULL);
    finish(start(use_signal_timer, NULL));
}

static void blocked_timer_signals_overrun(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2 };
    struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    timer_t timer = timer_make(CLOCK_MONOTONIC, &event);
    EXPECT_EQ(timer_settime(timer, 0, &often, NULL), 0);
    sleep_ms(30);
    EXPECT_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 2);
    EXPECT(info.si_overrun >= 20);
    EXPECT(timer_getoverrun(timer) >= 20);
    EXPECT_EQ(timer_delete(timer), 0);
    while (sigtimedwait(&set, NULL, &(struct timespec){ 0, 0 }) > 0) {
    }
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int notified[2];

static void on_timer_thread(union sigval value)
{
    own++;
    EXPECT_EQ(own, 1);
    sleep_ms(1);
    atomic_add(&notified[value.sival_int], 1);
}

static void posix_timers_start_threads(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer_thread };
    struct itimerspec often = { { 0, 5000000 }, { 0, 5000000 } }, once = { { 0, 0 }, { 0, 10000000 } };
    event.sigev_value.sival_int = 0;
    timer_t first = timer_make(CLOCK_MONOTONIC, &event);
    event.sigev_value.sival_int = 1;
    timer_t second = timer_make(CLOCK_REALTIME, &event);
    EXPECT_EQ(timer_settime(first, 0, &often, NULL), 0);
    EXPECT(at_least(&notified[0], 5));
    EXPECT_EQ(timer_delete(first), 0);
    EXPECT_EQ(timer_settime(second, 0, &once, NULL), 0);
    EXPECT(at_least(&notified[1], 1));
    sleep_ms(20);
    EXPECT_EQ(atomic_get(&notified[1]), 1);
    EXPECT_EQ(timer_delete(second), 0);
}

static void *own_timer(void *argument)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3 };
    struct itimerspec once = { { 0, 0 }, { 0, 5000000 } };
    event.sigev_notify_thread_id = gettid();
    timer_t timer = timer_make(CLOCK_MONOTONIC, &event);
    for (int i = 0; i < 3; i++) {
        own = 0;
        EXPECT_EQ(timer_settime(timer, 0, &once, NULL), 0);
        int64_t began = now_ns(CLOCK_MONOTONIC);
        while (own == 0 && ms_since(began) < 10000) {
            sleep_ms(1);
        }
        EXPECT_EQ(own, SIGRTMIN + 3);
    }
    EXPECT_EQ(timer_delete(timer), 0);
    return argument;
}

static void posix_timers_reach_one_thread(void)
{
    pthread_t threads[6];
    handle(SIGRTMIN + 3);
    own_timer(NULL);
    for (int i = 0; i < 6; i++) {
        threads[i] = start(own_timer, NULL);
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_get(&handled), 21);
}

static void silent_timers_can_be_asked(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_NONE };
    struct itimerspec once = { { 0, 0 }, { 0, 20000000 } }, left;
    timer_t timer = timer_make(CLOCK_MONOTONIC, &event);
    EXPECT_EQ(timer_settime(timer, 0, &once, NULL), 0);
    do {
        sleep_ms(5);
        EXPECT_EQ(timer_gettime(timer, &left), 0);
    } while (left.it_value.tv_nsec != 0);
    EXPECT_EQ(timer_delete(timer), 0);
}

static const struct check checks[] = {
    CHECK(alarm_rings),
    CHECK(interval_timers_ring),
    CHECK(processor_time_timers_ring),
    CHECK(posix_timers_send_signals),
    CHECK(blocked_timer_signals_overrun),
    CHECK(posix_timers_start_threads),
    CHECK(posix_timers_reach_one_thread),
    CHECK(silent_timers_can_be_asked),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
