/* SO_RCVLOWAT: a receive waits for that many bytes; poll waits with it on TCP, not on AF_UNIX. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static void send_ten_by_twos(void *arg)
{
    for (int i = 0; i < 5; i++) {
        MUST(send(*(int *)arg, &"0123456789"[2 * i], 2, 0));
        ticker_wait(3);
    }
}

static void send_four_and_end(void *arg)
{
    MUST(send(*(int *)arg, "0123", 4, 0));
    ticker_wait(5);
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

static void check_family(int family)
{
    int pair[2], low = 10, got_low = 0;
    socklen_t length = sizeof(got_low);
    char got[32];
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    EQUALS(setsockopt(pair[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)), 0, "set 10");
    EQUALS(getsockopt(pair[0], SOL_SOCKET, SO_RCVLOWAT, &got_low, &length), 0, "get it");
    EQUALS(got_low, 10, "as set");
    WHILE(send_ten_by_twos, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 10, "recv waits for ten bytes");
    BYTES(got, "0123456789", 10, "in order");
    WHILE(send_ten_by_twos, &pair[1], n = read(pair[0], got, sizeof(got)));
    EQUALS(n, 10, "read waits for ten bytes");
    WHILE(send_ten_by_twos, &pair[1], n = recv(pair[0], got, 4, 0));
    EQUALS(n, 4, "a recv of four waits for four");
    EQUALS(recv(pair[0], got, 6, 0), 6, "the rest");
    MUST(send(pair[1], "ab", 2, 0));
    EQUALS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), 2, "MSG_DONTWAIT takes less");
    MUST(send(pair[1], "ab", 2, 0));
    net_timeout(pair[0], SO_RCVTIMEO, 40);
    int64_t began = moment();
    EQUALS(recv(pair[0], got, sizeof(got), 0), 2, "SO_RCVTIMEO gives less");
    LASTED_TICKS(began, 40, "after its time");
    net_timeout(pair[0], SO_RCVTIMEO, 0);

    struct pollfd wait = {pair[0], POLLIN, 0};
    MUST(send(pair[1], "ab", 2, 0));
    if (family == AF_UNIX) {
        EQUALS(poll(&wait, 1, 4000), 1, "poll on AF_UNIX tells of two bytes");
        MUST(recv(pair[0], got, 2, 0));
    } else {
        EQUALS(poll(&wait, 1, 20), 0, "poll on TCP does not tell of two bytes");
        int ready;
        WHILE(send_ten_by_twos, &pair[1], ready = poll(&wait, 1, 4000));
        EQUALS(ready, 1, "poll on TCP tells of ten");
        EQUALS(recv(pair[0], got, 12, MSG_WAITALL), 12, "all");
    }
    WHILE(send_four_and_end, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 4, "the end of file gives less");
    EQUALS(recv(pair[0], got, sizeof(got), 0), 0, "and then 0");
    net_close(pair);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void tcp6(void)
{
    check_family(AF_INET6);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(tcp6), CHECK(local)};

TICKING_MAIN(checks)
