/* select and pselect: the sets, time-outs (select writes back what is left, pselect does not),
 * errors, signals and masks. */
#include <sys/select.h>
#include <sys/time.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2];

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static void send_urgent(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "!", 1, MSG_OOB));
}

static fd_set one(int fd)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return set;
}

static int wait_select(int count, fd_set *in, fd_set *out, fd_set *except, int ms)
{
    struct timeval limit = {ms / 1000, (suseconds_t)(ms % 1000) * 1000}, before = limit;
    int n = select(count, in, out, except, ms < 0 ? NULL : &limit), error = errno;
    if (ms >= 0 && n == 0)
        HOLDS(limit.tv_sec == 0 && limit.tv_usec == 0, "no time is left");
    HOLDS(timercmp(&limit, &before, <=), "the time left is not more than there was");
    errno = error;
    return n;
}

static int wait_pselect(int count, fd_set *in, fd_set *out, fd_set *except, int ms)
{
    struct timespec limit = {ms / 1000, (long)(ms % 1000) * 1000000}, copy = limit;
    int n = pselect(count, in, out, except, ms < 0 ? NULL : &limit, NULL), error = errno;
    HOLDS(memcmp(&limit, &copy, sizeof(limit)) == 0, "pselect leaves the time as it is");
    errno = error;
    return n;
}

typedef int waiting(int count, fd_set *in, fd_set *out, fd_set *except, int ms);

static void check_times(waiting *wait)
{
    char c;
    int n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    int count = pair[0] + 1;
    fd_set in = one(pair[0]), out, except;
    EQUALS(wait(count, &in, NULL, NULL, 0), 0, "0 does not wait");
    HOLDS(!FD_ISSET(pair[0], &in), "the set is cleared");
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    in = one(pair[0]);
    EQUALS(wait(count, &in, NULL, NULL, 40), 0, "40 ms with nothing");
    LASTED(began, 40, "after its time");
    HOLDS(!FD_ISSET(pair[0], &in), "the set is cleared");
    OTHERS_RAN(ticks, wait(0, NULL, NULL, NULL, 40));
    in = one(pair[0]);
    WHILE(send_byte, NULL, n = wait(count, &in, NULL, NULL, 4000));
    EQUALS(n, 1, "something comes in time");
    HOLDS(FD_ISSET(pair[0], &in), "it is told");
    MUST(recv(pair[0], &c, 1, 0));
    in = one(pair[0]);
    WHILE(send_byte, NULL, n = wait(count, &in, NULL, NULL, -1));
    EQUALS(n, 1, "no limit waits");
    in = out = one(pair[0]);
    EQUALS(wait(count, &in, &out, NULL, 1000), 2, "reading and writing count apart");
    HOLDS(FD_ISSET(pair[0], &in) && FD_ISSET(pair[0], &out), "in both sets");
    MUST(recv(pair[0], &c, 1, 0));
    except = in = one(pair[0]);
    WHILE(send_urgent, NULL, n = wait(count, &in, NULL, &except, 4000));
    EQUALS(n, 1, "urgent data");
    HOLDS(!FD_ISSET(pair[0], &in) && FD_ISSET(pair[0], &except), "is exceptional, not readable");
    MUST(recv(pair[0], &c, 1, MSG_OOB));
    signal_catch(SIGUSR1, SA_RESTART);
    in = one(pair[0]);
    KICKED(SIGUSR1, n = wait(count, &in, NULL, NULL, -1));
    FAILS(n, EINTR, "a signal interrupts it in spite of SA_RESTART");
    HOLDS(FD_ISSET(pair[0], &in), "and leaves the set as it was");
    began = moment();
    EQUALS(wait(0, NULL, NULL, NULL, 30), 0, "no sets are a sleep");
    LASTED(began, 30, "of its time");
    KICKED(SIGUSR1, n = wait(0, NULL, NULL, NULL, -1));
    FAILS(n, EINTR, "without end, but for a signal");
    in = one(pair[0]);
    began = moment();
    EQUALS(wait(pair[0], &in, NULL, NULL, 20), 0, "a descriptor that is not counted");
    LASTED(began, 20, "is not waited for");
    net_close(pair);
}

static void check_errors(waiting *wait)
{
    int ends[2];
    MUST(pipe(ends));
    int closed = MUST(dup(ends[0]));
    fd_set in = one(closed), empty;
    close(closed);
    FAILS(wait(closed + 1, &in, NULL, NULL, 1000), EBADF, "a closed descriptor");
    HOLDS(FD_ISSET(closed, &in), "the set stays as it was");
    FAILS(wait(-1, NULL, NULL, NULL, 0), EINVAL, "a negative count");
    FAILS(wait(ends[0] + 1, bad_pointer, NULL, NULL, 0), EFAULT, "a bad address");
    FD_ZERO(&empty);
    EQUALS(wait(1024, &empty, &empty, NULL, 0), 0, "empty sets");
    int file = MUST(open("/proc/self/exe", O_RDONLY));
    fd_set out = one(file), except = one(file);
    in = one(file);
    EQUALS(wait(file + 1, &in, &out, &except, 1000), 2, "a file is always ready, both ways");
    HOLDS(!FD_ISSET(file, &except), "and never exceptional");
    close(file);
    out = one(ends[1]);
    in = one(ends[0]);
    close(ends[1]);
    EQUALS(wait(ends[0] + 1, &in, NULL, NULL, 1000), 1, "a pipe without a writer is readable");
    close(ends[0]);
}

static void select_times(void)
{
    check_times(wait_select);
}

static void pselect_times(void)
{
    check_times(wait_pselect);
}

static void select_errors(void)
{
    struct timeval limit = {-1, 0};
    check_errors(wait_select);
    FAILS(select(0, NULL, NULL, NULL, &limit), EINVAL, "a negative time");
    limit = (struct timeval){0, -1};
    FAILS(select(0, NULL, NULL, NULL, &limit), EINVAL, "negative microseconds");
}

static void pselect_errors(void)
{
    struct timespec limit = {0, 1000000000};
    check_errors(wait_pselect);
    FAILS(pselect(0, NULL, NULL, NULL, &limit, NULL), EINVAL, "a whole second of nanoseconds");
    limit = (struct timespec){-1, 0};
    FAILS(pselect(0, NULL, NULL, NULL, &limit, NULL), EINVAL, "a negative time");
}

/* Linux writes back the time that is left. */
static void time_left(void)
{
    struct timeval limit = {3, 0};
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    fd_set in = one(pair[0]);
    int n;
    WHILE(send_byte, NULL, n = select(pair[0] + 1, &in, NULL, NULL, &limit));
    EQUALS(n, 1, "woken in time");
    HOLDS(limit.tv_sec < 3 && (limit.tv_sec > 0 || limit.tv_usec > 0), "some of it is left");
    limit = (struct timeval){3, 0};
    in = one(pair[0]);
    EQUALS(select(pair[0] + 1, &in, NULL, NULL, &limit), 1, "ready at once");
    HOLDS(limit.tv_sec >= 2, "nearly all is left");
    limit = (struct timeval){1, 2500000};
    in = one(pair[0]);
    EQUALS(select(pair[0] + 1, &in, NULL, NULL, &limit), 1, "more than a second of microseconds");
    signal_catch(SIGUSR1, 0);
    limit = (struct timeval){3, 0};
    KICKED(SIGUSR1, n = select(0, NULL, NULL, NULL, &limit));
    FAILS(n, EINTR, "interrupted");
    HOLDS(limit.tv_sec < 3 && (limit.tv_sec > 0 || limit.tv_usec > 0), "some of it is left");
    net_close(pair);
}

static void masks(void)
{
    sigset_t none, usr1, now;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    fd_set in = one(pair[0]);
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal_catch(SIGUSR1, 0);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal_count = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    struct timeval soon = {0, 10000};
    EQUALS(select(pair[0] + 1, &in, NULL, NULL, &soon), 0, "select does not let it in");
    struct timespec limit = {3, 0};
    in = one(pair[0]);
    FAILS(pselect(pair[0] + 1, &in, NULL, NULL, &limit, &none), EINTR, "pselect lets it in");
    EQUALS(signal_count, 1, "its handler ran");
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EQUALS(sigismember(&now, SIGUSR1), 1, "afterwards it is blocked again");
    int n;
    KICKED(SIGUSR1, n = pselect(pair[0] + 1, &in, NULL, NULL, NULL, &none));
    FAILS(n, EINTR, "a signal during the wait");
    limit = (struct timespec){0, 0};
    in = one(pair[0]);
    while (pselect(pair[0] + 1, &in, NULL, NULL, &limit, &none) < 0)
        continue;
    in = one(pair[0]);
    WHILE(send_byte, NULL, n = pselect(pair[0] + 1, &in, NULL, NULL, NULL, &none));
    EQUALS(n, 1, "data wakes it too");
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    net_close(pair);
}

/* Sets larger than FD_SETSIZE, as some programs make them. */
static void large_sets(void)
{
    enum { size = 4096 };
    unsigned long words[size / (8 * sizeof(long))];
    int ends[2];
    MUST(pipe(ends));
    int high = MUST(fcntl(ends[0], F_DUPFD, 3000));
    memset(words, 0, sizeof(words));
    words[(size_t)high / 64] |= 1UL << (high % 64);
    struct timeval limit = {0, 20000};
    int64_t began = moment();
    EQUALS(select(high + 1, (fd_set *)words, NULL, NULL, &limit), 0, "a high descriptor");
    LASTED(began, 20, "is waited for");
    MUST(write(ends[1], "x", 1));
    words[(size_t)high / 64] |= 1UL << (high % 64);
    limit = (struct timeval){3, 0};
    EQUALS(select(high + 1, (fd_set *)words, NULL, NULL, &limit), 1, "and told of");
    HOLDS(words[(size_t)high / 64] == 1UL << (high % 64), "in its place");
    close(high);
    close(ends[0]);
    close(ends[1]);
}

static const struct check checks[] = {
    CHECK(select_times), CHECK(pselect_times), CHECK(select_errors), CHECK(pselect_errors),
    CHECK(time_left),    CHECK(masks),         CHECK(large_sets),
};

TICKING_MAIN(checks)
