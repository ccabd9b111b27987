/* timerfd: reading waits for the timer, counts what was missed, periodic and absolute timers,
 * being set and stopped while somebody reads. */
#include <poll.h>
#include <sys/timerfd.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int timer;

static struct itimerspec in_ms(int first, int every)
{
    struct itimerspec t = {{every / 1000, (long)(every % 1000) * 1000000},
                           {first / 1000, (long)(first % 1000) * 1000000}};
    return t;
}

static void arm(void *arg)
{
    struct itimerspec t = in_ms(*(int *)arg, 0);
    MUST(timerfd_settime(timer, 0, &t, NULL));
}

static void relative(void)
{
    uint64_t count = 0;
    struct itimerspec t = in_ms(40, 0), left;
    timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    MUST(timerfd_settime(timer, 0, &t, NULL));
    EQUALS(read(timer, &count, sizeof(count)), 8, "read waits for the timer");
    EQUALS(count, 1, "which expired once");
    LASTED(began, 40, "after its time");
    OTHERS_RAN(ticks, (arm(&(int){30}), read(timer, &count, sizeof(count))));
    EQUALS(timerfd_gettime(timer, &left), 0, "timerfd_gettime");
    EQUALS(left.it_value.tv_sec + left.it_value.tv_nsec, 0, "it is not armed any more");
    FAILS(read(timer, &count, 7), EINVAL, "room for 7 bytes");
    FAILS(write(timer, &count, 8), EINVAL, "write");
    EQUALS(fcntl(timer, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    close(timer);
}

static void periodic(void)
{
    uint64_t count = 0, sum = 0;
    struct itimerspec t = in_ms(5, 5);
    timer = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    EQUALS(fcntl(timer, F_GETFD), FD_CLOEXEC, "TFD_CLOEXEC");
    int64_t began = moment();
    MUST(timerfd_settime(timer, 0, &t, NULL));
    while (sum < 10) {
        EQUALS(read(timer, &count, sizeof(count)), 8, "read");
        HOLDS(count >= 1, "at least once");
        sum += count;
    }
    LASTED(began, 50, "ten periods take their time");
    sleep_ms(30);
    EQUALS(read(timer, &count, sizeof(count)), 8, "read after a pause");
    HOLDS(count >= 5, "counts what was missed");
    close(timer);
}

static void absolute(void)
{
    uint64_t count = 0;
    struct itimerspec t = {.it_interval = {0, 0}};
    timer = MUST(timerfd_create(CLOCK_REALTIME, 0));
    int64_t goal = now_ns(CLOCK_REALTIME) + 30000000;
    t.it_value = timespec_of_ns(goal);
    EQUALS(timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL), 0, "set to a moment");
    EQUALS(read(timer, &count, sizeof(count)), 8, "read waits for it");
    HOLDS(now_ns(CLOCK_REALTIME) >= goal, "not before");
    t.it_value = timespec_of_ns(goal);
    MUST(timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL));
    EQUALS(read(timer, &count, sizeof(count)), 8, "a moment in the past");
    EQUALS(count, 1, "is over at once");
    close(timer);
}

/* A timer that is set while somebody reads it already. */
static void set_meanwhile(void)
{
    uint64_t count = 0;
    int ms = 10;
    ssize_t n;
    timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    WHILE(arm, &ms, n = read(timer, &count, sizeof(count)));
    EQUALS(n, 8, "a reader of a timer that is not armed yet");
    struct itimerspec far = in_ms(3600000, 0);
    MUST(timerfd_settime(timer, 0, &far, NULL));
    WHILE(arm, &ms, n = read(timer, &count, sizeof(count)));
    EQUALS(n, 8, "a reader of a timer that is set earlier");
    struct pollfd wait = {timer, POLLIN, 0};
    int ready;
    WHILE(arm, &ms, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll");
    EQUALS(wait.revents, POLLIN, "POLLIN");
    EQUALS(read(timer, &count, sizeof(count)), 8, "read");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = read(timer, &count, sizeof(count)));
    FAILS(n, EINTR, "a signal interrupts read");
    close(timer);
}

static void nonblocking(void)
{
    uint64_t count;
    FAILS(timerfd_create(CLOCK_MONOTONIC, 0x10), EINVAL, "an unknown flag");
    FAILS(timerfd_create(99, 0), EINVAL, "an unknown clock");
    timer = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    FAILS(read(timer, &count, sizeof(count)), EAGAIN, "TFD_NONBLOCK");
    struct itimerspec t = in_ms(5, 0);
    t.it_value.tv_nsec = 2000000000;
    FAILS(timerfd_settime(timer, 0, &t, NULL), EINVAL, "a time that is none");
    FAILS(timerfd_settime(STDOUT_FILENO, 0, &t, NULL), EINVAL, "no timer");
    close(timer);
}

static const struct check checks[] = {CHECK(relative), CHECK(periodic), CHECK(absolute),
                                      CHECK(set_meanwhile), CHECK(nonblocking)};

TICKING_MAIN(checks)
