/* Descriptors that are closed, replaced, added or removed by one thread while another waits for
 * them, as the kernel treats it: a wait stays with what it began on. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2], other[2], set;

static void set_up(void)
{
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    net_pair(AF_UNIX, SOCK_STREAM, other);
    set = MUST(epoll_create1(0));
}

static void close_then_other(void *unused)
{
    (void)unused;
    close(pair[0]);
    ticker_wait(20);
    MUST(send(other[1], "x", 1, 0));
}

static void under_poll(void)
{
    int n;
    set_up();
    struct pollfd fds[2] = {{pair[0], POLLIN, 0}, {other[0], POLLIN, 0}};
    WHILE(close_then_other, NULL, n = poll(fds, 2, 4000));
    EQUALS(n, 2, "closing alone does not wake poll; the other descriptor does");
    EQUALS(fds[0].revents, POLLNVAL, "and the closed one is found");
    EQUALS(fds[1].revents, POLLIN, "beside it");
    close(pair[1]);
    net_close(other);
    close(set);
}

static void under_poll_alone(void)
{
    set_up();
    struct pollfd fd = {pair[0], POLLIN, 0};
    int n, closed = pair[0];
    struct later later;
    later_start(&later, close_then_other, NULL);
    n = poll(&fd, 1, 300);
    later_join(&later);
    HOLDS(n == 0 || (n == 1 && fd.revents == POLLNVAL), "poll of a closed descriptor times out");
    FAILS(fcntl(closed, F_GETFD), EBADF, "which is closed");
    close(pair[1]);
    net_close(other);
    close(set);
}

static void close_then_peer(void *unused)
{
    (void)unused;
    close(pair[0]);
    ticker_wait(10);
    close(pair[1]);
}

/* The wait holds the description: its peer's end still wakes it. */
static void peer_of_a_closed_one(void)
{
    int n;
    set_up();
    struct pollfd fd = {pair[0], POLLIN, 0};
    WHILE(close_then_peer, NULL, n = poll(&fd, 1, 4000));
    EQUALS(n, 1, "poll is woken");
    EQUALS(fd.revents, POLLNVAL, "and finds the number closed");
    net_close(other);
    close(set);
}

static void replace_then_send(void *unused)
{
    (void)unused;
    MUST(dup2(other[0], pair[0]));
    ticker_wait(5);
    MUST(send(other[1], "x", 1, 0));
    ticker_wait(20);
    MUST(send(pair[1], "x", 1, MSG_NOSIGNAL));
}

static void replaced_under_poll(void)
{
    int n;
    set_up();
    struct pollfd fd = {pair[0], POLLIN, 0};
    WHILE(replace_then_send, NULL, n = poll(&fd, 1, 4000));
    EQUALS(n, 1, "poll is woken by what it began on");
    EQUALS(fd.revents, POLLIN, "and looks at what is there now");
    net_close(pair);
    net_close(other);
    close(set);
}

static void add_ready(void *unused)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = other[0]};
    (void)unused;
    MUST(send(other[1], "x", 1, 0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &wanted));
}

static void add_then_send(void *unused)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = other[0]};
    (void)unused;
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &wanted));
    ticker_wait(5);
    MUST(send(other[1], "x", 1, 0));
}

static void change_to_ready(void *unused)
{
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT, .data.fd = pair[0]};
    (void)unused;
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &wanted));
}

static void remove_then_send(void *unused)
{
    (void)unused;
    MUST(epoll_ctl(set, EPOLL_CTL_DEL, pair[0], NULL));
    MUST(send(pair[1], "x", 1, 0));
    ticker_wait(20);
    add_ready(NULL);
}

static void under_epoll(void)
{
    struct epoll_event got, wanted = {.events = EPOLLIN};
    char c;
    int n;
    set_up();
    WHILE(add_ready, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "adding a ready one to an empty set wakes");
    EQUALS(got.data.fd, other[0], "with it");
    MUST(epoll_ctl(set, EPOLL_CTL_DEL, other[0], NULL));
    MUST(recv(other[0], &c, 1, 0));
    wanted.data.fd = pair[0];
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    WHILE(add_then_send, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "one added meanwhile wakes when it gets ready");
    EQUALS(got.data.fd, other[0], "with it");
    MUST(epoll_ctl(set, EPOLL_CTL_DEL, other[0], NULL));
    MUST(recv(other[0], &c, 1, 0));
    WHILE(change_to_ready, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "a changed mask wakes");
    EQUALS(got.events, EPOLLOUT, "with it");
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &wanted));
    WHILE(remove_then_send, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "a removed one does not wake");
    EQUALS(got.data.fd, other[0], "another does");
    close(set);
    net_close(pair);
    net_close(other);
}

static void close_watched_then_other(void *unused)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = 1};
    (void)unused;
    close(pair[0]);
    close(pair[1]);
    ticker_wait(20);
    MUST(send(other[1], "x", 1, 0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &wanted));
}

static void closed_under_epoll(void)
{
    struct epoll_event got, wanted = {.events = EPOLLIN, .data.fd = 0};
    int n;
    set_up();
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    WHILE(close_watched_then_other, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "a closed one leaves the set without a word");
    EQUALS(got.data.fd, 1, "another wakes");
    close(set);
    net_close(other);
}

/* The set itself is closed under its waiter: the wait holds it. */
static void close_set_then_send(void *unused)
{
    (void)unused;
    close(set);
    ticker_wait(10);
    MUST(send(pair[1], "x", 1, 0));
}

static void set_closed(void)
{
    struct epoll_event got, wanted = {.events = EPOLLIN, .data.fd = 5};
    int n;
    set_up();
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    WHILE(close_set_then_send, NULL, n = epoll_wait(set, &got, 1, 4000));
    EQUALS(n, 1, "closing the set under a waiter does not end the wait");
    EQUALS(got.data.fd, 5, "data does");
    net_close(pair);
    net_close(other);
}

static void under_select(void)
{
    fd_set in;
    int n;
    set_up();
    FD_ZERO(&in);
    FD_SET(pair[0], &in);
    FD_SET(other[0], &in);
    int count = (pair[0] > other[0] ? pair[0] : other[0]) + 1;
    struct timeval limit = {4, 0};
    WHILE(close_then_other, NULL, n = select(count, &in, NULL, NULL, &limit));
    HOLDS(n == 1 || n == 2, "closing alone does not wake select; the other descriptor does");
    HOLDS(FD_ISSET(other[0], &in), "which is told");
    EQUALS(FD_ISSET(pair[0], &in) ? 2 : 1, n, "and maybe the closed one, as the kernel likes");
    close(pair[1]);
    net_close(other);
    close(set);
}

static const struct check checks[] = {
    CHECK(under_poll),  CHECK(under_poll_alone),   CHECK(peer_of_a_closed_one),
    CHECK(under_epoll), CHECK(closed_under_epoll), CHECK(replaced_under_poll),
    CHECK(set_closed),  CHECK(under_select),
};

TICKING_MAIN(checks)
