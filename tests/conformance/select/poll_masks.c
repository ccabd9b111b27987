/* The exact masks that poll gives, on each kind of descriptor and in each state, to somebody who
 * waits for them and to somebody who comes later. */
#include <poll.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { all = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM |
             POLLWRBAND,
       can_read = POLLIN | POLLRDNORM,
       can_write = POLLOUT | POLLWRNORM };

static int mask_of(int fd, short events)
{
    struct pollfd wait = {fd, events, 0};
    int n = poll(&wait, 1, 0);
    EQUALS(n, wait.revents != 0, "the count agrees with the mask");
    return wait.revents;
}

/* What a thread that waits for these events is told when act happens. */
static int mask_while(int fd, short events, void (*act)(void *), void *arg)
{
    struct pollfd wait = {fd, events, 0};
    int n;
    WHILE(act, arg, n = poll(&wait, 1, 4000));
    EQUALS(n, 1, "poll is woken");
    return wait.revents;
}

static void send_byte(void *arg)
{
    MUST(send(*(int *)arg, "x", 1, 0));
}

static void send_urgent(void *arg)
{
    MUST(send(*(int *)arg, "!", 1, MSG_OOB));
}

static void write_byte(void *arg)
{
    MUST(write(*(int *)arg, "x", 1));
}

static void close_it(void *arg)
{
    close(*(int *)arg);
}

static void shut_writing(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

static void shut_both(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_RDWR));
}

static void reset(void *arg)
{
    struct linger hard = {1, 0};
    MUST(setsockopt(*(int *)arg, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(*(int *)arg);
}

static void tcp(void)
{
    int pair[2];
    char got[8];
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(mask_of(pair[0], all), can_write, "idle");
    EQUALS(mask_while(pair[0], POLLIN, send_byte, &pair[1]), POLLIN, "data");
    EQUALS(mask_of(pair[0], all), can_write | can_read, "data, all asked for");
    EQUALS(mask_of(pair[0], POLLRDNORM), POLLRDNORM, "data, POLLRDNORM");
    MUST(recv(pair[0], got, 1, 0));
    EQUALS(mask_while(pair[0], POLLPRI, send_urgent, &pair[1]), POLLPRI, "urgent data");
    MUST(recv(pair[0], got, 1, MSG_OOB));
    EQUALS(mask_while(pair[0], POLLRDHUP, shut_writing, &pair[1]), POLLRDHUP, "the peer's end");
    EQUALS(mask_of(pair[0], POLLIN), POLLIN, "to a reader");
    EQUALS(mask_of(pair[0], POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP,
           "all asked for");
    EQUALS(mask_of(pair[0], 0), 0, "nothing asked for");
    EQUALS(mask_while(pair[0], 0, shut_writing, &pair[0]), POLLHUP, "both ends");
    net_close(pair);
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(mask_while(pair[0], POLLRDHUP, reset, &pair[1]), POLLRDHUP | POLLERR | POLLHUP,
           "a reset, POLLRDHUP");
    close(pair[0]);
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(mask_while(pair[0], 0, reset, &pair[1]), POLLERR | POLLHUP, "a reset, nothing");
    EQUALS(mask_of(pair[0], POLLIN | POLLOUT), POLLIN | POLLOUT | POLLERR | POLLHUP,
           "a reset, both ways");
    close(pair[0]);
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(mask_while(pair[0], POLLIN | POLLRDHUP, shut_both, &pair[0]),
           POLLIN | POLLRDHUP | POLLHUP, "one's own shutdown");
    net_close(pair);
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    EQUALS(mask_of(fd, POLLIN | POLLOUT), POLLOUT | POLLHUP, "not connected");
    close(fd);
}

static void full_tcp(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    EQUALS(mask_of(pair[0], POLLOUT), 0, "full");
    EQUALS(mask_while(pair[0], POLLOUT, reset, &pair[1]), POLLOUT | POLLERR | POLLHUP,
           "a reset wakes a writer");
    close(pair[0]);
}

static void local(void)
{
    int pair[2];
    char got[8];
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    EQUALS(mask_of(pair[0], all), can_write | POLLWRBAND, "idle");
    EQUALS(mask_while(pair[0], POLLIN, send_byte, &pair[1]), POLLIN, "data");
    MUST(recv(pair[0], got, 1, 0));
    EQUALS(mask_while(pair[0], POLLRDHUP, shut_writing, &pair[1]), POLLRDHUP, "the peer's end");
    EQUALS(mask_of(pair[0], POLLIN | POLLRDHUP), POLLIN | POLLRDHUP, "to a reader");
    EQUALS(mask_while(pair[0], 0, close_it, &pair[1]), POLLHUP, "the peer closes");
    EQUALS(mask_of(pair[0], POLLIN | POLLOUT), POLLIN | POLLOUT | POLLHUP, "both ways");
    close(pair[0]);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    MUST(send(pair[0], "unread", 6, 0));
    EQUALS(mask_while(pair[0], 0, close_it, &pair[1]), POLLERR | POLLHUP,
           "the peer closes with unread data");
    close(pair[0]);
    net_pair(AF_UNIX, SOCK_DGRAM, pair);
    EQUALS(mask_of(pair[0], POLLIN | POLLOUT), POLLOUT, "datagrams, idle");
    EQUALS(mask_while(pair[0], POLLIN | POLLPRI, send_byte, &pair[1]), POLLIN, "datagrams, one");
    net_close(pair);
}

static void connect_there(void *arg)
{
    struct address *where = arg;
    int fd = net_connect(where, SOCK_STREAM);
    close(fd);
}

static void listener(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        struct address where;
        int fd = net_listen(families[i], SOCK_STREAM, 4, &where);
        EQUALS(mask_of(fd, POLLIN), 0, "nobody");
        EQUALS(mask_while(fd, POLLIN, connect_there, &where), POLLIN, "a connection");
        EQUALS(mask_of(fd, POLLIN | POLLPRI | POLLRDHUP), POLLIN, "nothing else");
        close(fd);
    }
}

static void pipes(void)
{
    int ends[2];
    char got[8];
    static char block[65536];
    MUST(pipe(ends));
    EQUALS(mask_of(ends[0], all), 0, "an empty one, reading");
    EQUALS(mask_of(ends[1], all), can_write, "an empty one, writing");
    EQUALS(mask_while(ends[0], POLLIN, write_byte, &ends[1]), POLLIN, "data");
    EQUALS(mask_of(ends[0], POLLIN | POLLRDNORM | POLLPRI), can_read, "POLLRDNORM too");
    MUST(read(ends[0], got, 1));
    EQUALS(mask_while(ends[0], POLLIN, close_it, &ends[1]), POLLHUP, "the writer closes");
    close(ends[0]);
    MUST(pipe(ends));
    MUST(write(ends[1], block, sizeof(block)));
    EQUALS(mask_of(ends[1], POLLOUT), 0, "a full one");
    EQUALS(mask_while(ends[1], POLLOUT, close_it, &ends[0]), POLLERR, "the reader closes");
    close(ends[1]);
    MUST(pipe(ends));
    MUST(write(ends[1], "x", 1));
    close(ends[1]);
    EQUALS(mask_of(ends[0], POLLIN), POLLIN | POLLHUP, "data and the end");
    EQUALS(mask_of(ends[0], 0), POLLHUP, "nothing asked for");
    close(ends[0]);
    MUST(pipe(ends));
    close(ends[0]);
    EQUALS(mask_of(ends[1], POLLOUT), POLLOUT | POLLERR, "no reader");
    close(ends[1]);
}

static void set_event(void *arg)
{
    MUST(eventfd_write(*(int *)arg, 1));
}

static void others(void)
{
    uint64_t most = UINT64_MAX - 1, got;
    int event = MUST(eventfd(0, 0));
    EQUALS(mask_of(event, POLLIN | POLLOUT), POLLOUT, "eventfd at 0");
    EQUALS(mask_while(event, POLLIN, set_event, &event), POLLIN, "eventfd counted up");
    MUST(read(event, &got, 8));
    MUST(write(event, &most, 8));
    EQUALS(mask_of(event, POLLIN | POLLOUT), POLLIN, "eventfd full");
    close(event);
    int timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    EQUALS(mask_of(timer, POLLIN | POLLOUT), 0, "timerfd not armed");
    struct itimerspec soon = {{0, 0}, {0, 10000000}};
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    struct pollfd wait = {timer, POLLIN | POLLOUT, 0};
    EQUALS(poll(&wait, 1, 4000), 1, "timerfd");
    EQUALS(wait.revents, POLLIN, "expired");
    close(timer);
    int null = MUST(open("/dev/null", O_RDWR));
    EQUALS(mask_of(null, POLLIN | POLLOUT | POLLPRI), POLLIN | POLLOUT, "/dev/null");
    close(null);
    int set = MUST(epoll_create1(0)), ends[2];
    MUST(pipe(ends));
    struct epoll_event wanted = {.events = EPOLLIN};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &wanted));
    EQUALS(mask_of(set, POLLIN | POLLOUT), 0, "an epoll set, nothing ready");
    EQUALS(mask_while(set, POLLIN, write_byte, &ends[1]), POLLIN, "an epoll set, something ready");
    close(set);
    close(ends[0]);
    close(ends[1]);
    int master, slave;
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    EQUALS(mask_of(slave, POLLIN | POLLOUT), POLLOUT, "a terminal");
    EQUALS(mask_while(master, POLLIN, write_byte, &slave), POLLIN, "its master, output");
    signal(SIGHUP, SIG_IGN);
    char c;
    MUST(read(master, &c, 1));
    EQUALS(mask_while(master, POLLIN, close_it, &slave), POLLHUP, "its master, hang-up");
    close(master);
}

/* Only those who asked are woken: a wait for POLLPRI sleeps through plain data. */
static void send_plain_then_urgent(void *arg)
{
    MUST(send(*(int *)arg, "plain", 5, 0));
    ticker_wait(20);
    MUST(send(*(int *)arg, "!", 1, MSG_OOB));
}

static void only_what_was_asked(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(mask_while(pair[0], POLLPRI, send_plain_then_urgent, &pair[1]), POLLPRI,
           "POLLPRI sleeps through plain data");
    net_close(pair);
    net_pair(AF_INET, SOCK_STREAM, pair);
    MUST(send(pair[1], "plain", 5, 0));
    struct pollfd wait = {pair[0], POLLPRI | POLLRDHUP, 0};
    int64_t began = moment();
    EQUALS(poll(&wait, 1, 30), 0, "plain data is no urgent data and no end");
    LASTED(began, 30, "after its time");
    wait.events = 0;
    began = moment();
    EQUALS(poll(&wait, 1, 30), 0, "nor anything that nobody asked for");
    LASTED(began, 30, "after its time");
    net_close(pair);
}

static const struct check checks[] = {
    CHECK(tcp),   CHECK(full_tcp), CHECK(local),  CHECK(listener),
    CHECK(pipes), CHECK(others),   CHECK(only_what_was_asked),
};

TICKING_MAIN(checks)
