/* poll and ppoll: time-outs of each kind, what is ignored, counted and cleared, errors, signals. */
#include <poll.h>
#include <sys/resource.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2];

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static int wait_poll(struct pollfd *fds, nfds_t count, int ms)
{
    return poll(fds, count, ms);
}

static int wait_ppoll(struct pollfd *fds, nfds_t count, int ms)
{
    struct timespec limit = {ms / 1000, (long)(ms % 1000) * 1000000}, copy = limit;
    int n = ppoll(fds, count, ms < 0 ? NULL : &limit, NULL), error = errno;
    HOLDS(memcmp(&limit, &copy, sizeof(limit)) == 0, "ppoll leaves the time as it is");
    errno = error;
    return n;
}

typedef int waiting(struct pollfd *fds, nfds_t count, int ms);

static void check_times(waiting *wait)
{
    char c;
    int n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    struct pollfd fd = {pair[0], POLLIN, -1};
    EQUALS(wait(&fd, 1, 0), 0, "0 does not wait");
    EQUALS(fd.revents, 0, "revents is cleared");
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    EQUALS(wait(&fd, 1, 40), 0, "40 ms with nothing");
    LASTED(began, 40, "after its time");
    OTHERS_RAN(ticks, wait(&fd, 1, 40));
    WHILE(send_byte, NULL, n = wait(&fd, 1, 4000));
    EQUALS(n, 1, "something comes in time");
    EQUALS(fd.revents, POLLIN, "POLLIN");
    EQUALS(wait(&fd, 1, 0), 1, "0 tells of what is there");
    EQUALS(wait(&fd, 1, -1), 1, "so does no limit");
    MUST(recv(pair[0], &c, 1, 0));
    WHILE(send_byte, NULL, n = wait(&fd, 1, -1));
    EQUALS(n, 1, "no limit waits");
    EQUALS(fd.revents, POLLIN, "POLLIN");
    MUST(recv(pair[0], &c, 1, 0));
    signal_catch(SIGUSR1, SA_RESTART);
    fd.revents = 77;
    KICKED(SIGUSR1, n = wait(&fd, 1, -1));
    FAILS(n, EINTR, "a signal interrupts it in spite of SA_RESTART");
    KICKED(SIGUSR1, n = wait(&fd, 1, 4000));
    FAILS(n, EINTR, "with a limit too");
    began = moment();
    EQUALS(wait(NULL, 0, 30), 0, "nothing to wait for is a sleep");
    LASTED(began, 30, "of its time");
    KICKED(SIGUSR1, n = wait(NULL, 0, -1));
    FAILS(n, EINTR, "without end, but for a signal");
    net_close(pair);
}

static void poll_times(void)
{
    check_times(wait_poll);
}

static void ppoll_times(void)
{
    check_times(wait_ppoll);
}

static void check_sets(waiting *wait)
{
    int n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct pollfd fds[6] = {
        {-1, POLLIN, 77},       {pair[0], POLLIN, 77}, {-pair[0], POLLIN | POLLOUT, 77},
        {pair[0], POLLOUT, 77}, {pair[0], 0, 77},      {pair[0], POLLIN | POLLOUT, 77},
    };
    EQUALS(wait(fds, 6, 1000), 2, "two of six are ready");
    EQUALS(fds[0].revents, 0, "a negative descriptor is ignored");
    EQUALS(fds[1].revents, 0, "not this");
    EQUALS(fds[2].revents, 0, "any negative descriptor");
    EQUALS(fds[3].revents, POLLOUT, "room to write");
    EQUALS(fds[4].revents, 0, "asked for nothing");
    EQUALS(fds[5].revents, POLLOUT, "the same descriptor again");
    fds[3].events = POLLIN;
    fds[5].events = POLLIN;
    WHILE(send_byte, NULL, n = wait(fds, 6, 4000));
    EQUALS(n, 3, "one descriptor three times");
    HOLDS(fds[1].revents == POLLIN && fds[3].revents == POLLIN && fds[5].revents == POLLIN,
          "each is told");
    struct pollfd none[2] = {{-1, POLLIN, 77}, {-2, POLLOUT, 77}};
    int64_t began = moment();
    EQUALS(wait(none, 2, 20), 0, "negative descriptors alone");
    LASTED(began, 20, "are a sleep");

    int closed = MUST(dup(pair[0]));
    close(closed);
    struct pollfd bad[2] = {{closed, POLLIN, 0}, {pair[0], POLLIN, 0}};
    EQUALS(wait(bad, 2, 4000), 2, "a closed descriptor ends it at once");
    EQUALS(bad[0].revents, POLLNVAL, "POLLNVAL");
    EQUALS(bad[1].revents, POLLIN, "beside what is ready");
    bad[0].events = 0;
    bad[1].events = 0;
    EQUALS(wait(bad, 2, 4000), 1, "asked for nothing too");
    EQUALS(bad[0].revents, POLLNVAL, "POLLNVAL");
    int file = MUST(open("/proc/self/exe", O_RDONLY));
    struct pollfd always = {file, POLLIN | POLLOUT, 0};
    EQUALS(wait(&always, 1, 4000), 1, "a file is always ready");
    EQUALS(always.revents, POLLIN | POLLOUT, "both ways");
    close(file);
    net_close(pair);
}

static void poll_sets(void)
{
    check_sets(wait_poll);
}

static void ppoll_sets(void)
{
    check_sets(wait_ppoll);
}

static void errors(void)
{
    struct pollfd fd = {STDOUT_FILENO, POLLOUT, 0};
    struct rlimit old, lower;
    FAILS(poll(bad_pointer, 1, 0), EFAULT, "poll, a bad address");
    FAILS(ppoll(bad_pointer, 1, NULL, NULL), EFAULT, "ppoll, a bad address");
    struct timespec limit = {0, -1};
    FAILS(ppoll(&fd, 1, &limit, NULL), EINVAL, "ppoll, a time that is none");
    limit = (struct timespec){-1, 0};
    FAILS(ppoll(&fd, 1, &limit, NULL), EINVAL, "ppoll, a negative time");
    limit = (struct timespec){0, 1000000000};
    FAILS(ppoll(&fd, 1, &limit, NULL), EINVAL, "ppoll, a whole second of nanoseconds");
    MUST(getrlimit(RLIMIT_NOFILE, &old));
    lower = (struct rlimit){256, old.rlim_max};
    MUST(setrlimit(RLIMIT_NOFILE, &lower));
    static struct pollfd many[257];
    for (int i = 0; i < 257; i++)
        many[i].fd = -1;
    FAILS(poll(many, 257, 0), EINVAL, "more descriptors than the limit");
    EQUALS(poll(many, 256, 0), 0, "as many as the limit");
    MUST(setrlimit(RLIMIT_NOFILE, &old));
}

/* Times below a millisecond. */
static void short_times(void)
{
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct pollfd fd = {pair[0], POLLIN, 0};
    struct timespec limit = {0, 300000};
    int64_t began = moment();
    for (int i = 0; i < 20; i++)
        EQUALS(ppoll(&fd, 1, &limit, NULL), 0, "300 us with nothing");
    LASTED(began, 6, "each after its time");
    limit = (struct timespec){0, 1};
    EQUALS(ppoll(&fd, 1, &limit, NULL), 0, "1 ns");
    net_close(pair);
}

/* The signal mask of ppoll holds for the wait only, and a signal that it lets in is never lost. */
static void masks(void)
{
    sigset_t none, usr1, now;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct pollfd fd = {pair[0], POLLIN, 0};
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal_catch(SIGUSR1, 0);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal_count = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    EQUALS(signal_count, 0, "a blocked signal waits");
    EQUALS(poll(&fd, 1, 10), 0, "poll does not let it in");
    struct timespec limit = {3, 0};
    FAILS(ppoll(&fd, 1, &limit, &none), EINTR, "ppoll lets it in");
    EQUALS(signal_count, 1, "its handler ran");
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EQUALS(sigismember(&now, SIGUSR1), 1, "afterwards it is blocked again");
    int n;
    KICKED(SIGUSR1, n = ppoll(&fd, 1, NULL, &none));
    FAILS(n, EINTR, "a signal during the wait");
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EQUALS(sigismember(&now, SIGUSR1), 1, "afterwards it is blocked again");
    while (ppoll(&fd, 1, &(struct timespec){0, 0}, &none) < 0)
        continue;
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    signal_count = 0;
    WHILE(send_byte, NULL, n = ppoll(&fd, 1, NULL, &usr1));
    EQUALS(n, 1, "a mask that blocks does not keep data out");
    pthread_kill(pthread_self(), SIGUSR1);
    EQUALS(signal_count, 1, "afterwards it is open again");
    net_close(pair);
}

static const struct check checks[] = {
    CHECK(poll_times), CHECK(ppoll_times), CHECK(poll_sets), CHECK(ppoll_sets),
    CHECK(errors),     CHECK(short_times), CHECK(masks),
};

TICKING_MAIN(checks)
