/* A connection that its peer resets (SO_LINGER 0, or closed with unread data): ECONNRESET once
 * for whoever waits in it, then end of file for readers and EPIPE for writers. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static char block[1 << 20];

static void reset(void *arg)
{
    struct linger hard = {1, 0};
    MUST(setsockopt(*(int *)arg, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(*(int *)arg);
}

static void close_plainly(void *arg)
{
    close(*(int *)arg);
}

static void check_tcp(int family)
{
    int pair[2], ready;
    char c;
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    WHILE(reset, &pair[1], n = recv(pair[0], &c, 1, 0));
    FAILS(n, ECONNRESET, "a blocked reader");
    EQUALS(recv(pair[0], &c, 1, 0), 0, "then end of file");
    FAILS(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE, "and EPIPE");
    close(pair[0]);

    net_pair(family, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    WHILE(reset, &pair[1], n = send(pair[0], block, sizeof(block), MSG_NOSIGNAL));
    FAILS(n, ECONNRESET, "a blocked writer");
    FAILS(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE, "then EPIPE");
    close(pair[0]);

    net_pair(family, SOCK_STREAM, pair);
    struct pollfd wait = {pair[0], POLLIN, 0};
    WHILE(reset, &pair[1], ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll");
    EQUALS(wait.revents, POLLIN | POLLERR | POLLHUP, "POLLIN, POLLERR and POLLHUP");
    EQUALS(net_error(pair[0]), ECONNRESET, "SO_ERROR tells it");
    EQUALS(recv(pair[0], &c, 1, 0), 0, "and then read does not");
    close(pair[0]);

    net_pair(family, SOCK_STREAM, pair);
    MUST(send(pair[0], "unread", 6, 0));
    sleep_ms(5);
    WHILE(close_plainly, &pair[1], n = recv(pair[0], &c, 1, 0));
    FAILS(n, ECONNRESET, "the peer closes with unread data");
    close(pair[0]);

    net_pair(family, SOCK_STREAM, pair);
    close(pair[1]);
    EQUALS(send(pair[0], "x", 1, MSG_NOSIGNAL), 1, "the first send after a close goes out");
    sleep_ms(5);
    n = send(pair[0], "x", 1, MSG_NOSIGNAL);
    HOLDS(n == -1 && (errno == EPIPE || errno == ECONNRESET), "the second finds the reset");
    close(pair[0]);
}

static void tcp4(void)
{
    check_tcp(AF_INET);
}

static void tcp6(void)
{
    check_tcp(AF_INET6);
}

static void local(void)
{
    int pair[2];
    char c;
    ssize_t n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    MUST(send(pair[0], "unread", 6, 0));
    WHILE(close_plainly, &pair[1], n = recv(pair[0], &c, 1, 0));
    FAILS(n, ECONNRESET, "the peer closes with unread data");
    EQUALS(recv(pair[0], &c, 1, 0), 0, "then end of file");
    close(pair[0]);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    WHILE(close_plainly, &pair[1], n = send(pair[0], block, 4096, MSG_NOSIGNAL));
    FAILS(n, ECONNRESET, "a blocked writer");
    close(pair[0]);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    WHILE(close_plainly, &pair[1], n = recv(pair[0], &c, 1, 0));
    EQUALS(n, 0, "the peer closes with nothing unread");
    close(pair[0]);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(tcp6), CHECK(local)};

TICKING_MAIN(checks)
