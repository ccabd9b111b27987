/* MSG_PEEK: waits like a read, leaves the data; with MSG_WAITALL it waits for the whole length;
 * with SO_PEEK_OFF it moves on by itself. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static void send_hello(void *arg)
{
    MUST(send(*(int *)arg, "hello", 5, 0));
}

static void send_world(void *arg)
{
    MUST(send(*(int *)arg, "wor", 3, 0));
    ticker_wait(5);
    MUST(send(*(int *)arg, "ld", 2, 0));
}

static void end_writing(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

static void check_kind(int family, int type)
{
    int pair[2];
    char got[32] = "";
    ssize_t n;
    net_pair(family, type, pair);
    WHILE(send_hello, &pair[1], n = recv(pair[0], got, sizeof(got), MSG_PEEK));
    EQUALS(n, 5, "peek waits for data");
    BYTES(got, "hello", 5, "and sees it");
    EQUALS(recv(pair[0], got, 2, MSG_PEEK), 2, "peek at two bytes");
    EQUALS(recv(pair[0], got, sizeof(got), MSG_PEEK | MSG_DONTWAIT), 5, "peek again");
    struct pollfd wait = {pair[0], POLLIN, 0};
    EQUALS(poll(&wait, 1, 0), 1, "still ready to read");
    memset(got, 0, sizeof(got));
    EQUALS(recv(pair[0], got, sizeof(got), 0), 5, "read takes it");
    BYTES(got, "hello", 5, "the same");
    FAILS(recv(pair[0], got, sizeof(got), MSG_PEEK | MSG_DONTWAIT), EAGAIN, "then no more");
    net_timeout(pair[0], SO_RCVTIMEO, 40);
    int64_t began = moment();
    FAILS(recv(pair[0], got, sizeof(got), MSG_PEEK), EAGAIN, "SO_RCVTIMEO ends a peek");
    LASTED_TICKS(began, 40, "after its time");
    net_timeout(pair[0], SO_RCVTIMEO, 0);
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = recv(pair[0], got, sizeof(got), MSG_PEEK));
    FAILS(n, EINTR, "a signal interrupts a peek");
    if (type == SOCK_STREAM) {
        WHILE(end_writing, &pair[1], n = recv(pair[0], got, sizeof(got), MSG_PEEK));
        EQUALS(n, 0, "peek at the end");
        EQUALS(recv(pair[0], got, sizeof(got), MSG_PEEK), 0, "again");
    }
    net_close(pair);
}

static void check_whole(int family)
{
    int pair[2];
    char got[32] = "";
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    send_hello(&pair[1]);
    WHILE(send_world, &pair[1], n = recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL));
    EQUALS(n, 10, "peek waits for all ten");
    BYTES(got, "helloworld", 10, "and sees them");
    memset(got, 0, sizeof(got));
    EQUALS(recv(pair[0], got, 10, MSG_WAITALL), 10, "they are still there");
    BYTES(got, "helloworld", 10, "all of them");
    send_hello(&pair[1]);
    net_timeout(pair[0], SO_RCVTIMEO, 40);
    unsigned long ticks = ticker_now();
    n = recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL);
    EQUALS(n, 5, "SO_RCVTIMEO ends it with what is there");
    OTHERS_RAN(ticks, recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL));
    net_timeout(pair[0], SO_RCVTIMEO, 0);
    WHILE(end_writing, &pair[1], n = recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL));
    EQUALS(n, 5, "end of file ends it with what is there");
    EQUALS(recv(pair[0], got, 10, 0), 5, "which is still there");
    EQUALS(recv(pair[0], got, 10, 0), 0, "then the end");
    net_close(pair);
}

/* AF_UNIX gives what the first look finds. */
static void local_whole(void)
{
    int pair[2];
    char got[16] = "";
    ssize_t n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    WHILE(send_world, &pair[1], n = recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL));
    EQUALS(n, 3, "a peek at ten waits for the first piece");
    BYTES(got, "wor", 3, "and sees it");
    EQUALS(recv(pair[0], got, 10, MSG_PEEK | MSG_WAITALL), 5, "a second one sees both");
    BYTES(got, "world", 5, "in order");
    EQUALS(recv(pair[0], got, 10, 0), 5, "they are still there");
    net_close(pair);
}

static void peek_offset(void)
{
    int pair[2], offset = 0;
    char got[8] = "";
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    EQUALS(setsockopt(pair[0], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)), 0, "set it");
    ssize_t n;
    WHILE(send_hello, &pair[1], n = recv(pair[0], got, 2, MSG_PEEK));
    EQUALS(n, 2, "first peek");
    BYTES(got, "he", 2, "from the start");
    EQUALS(recv(pair[0], got, 3, MSG_PEEK), 3, "second peek");
    BYTES(got, "llo", 3, "from there on");
    WHILE(send_world, &pair[1], n = recv(pair[0], got, 2, MSG_PEEK));
    EQUALS(n, 2, "third peek waits for more");
    BYTES(got, "wo", 2, "which it sees");
    net_close(pair);
}

static void tcp4(void)
{
    check_kind(AF_INET, SOCK_STREAM);
}

static void tcp6(void)
{
    check_kind(AF_INET6, SOCK_STREAM);
}

static void local(void)
{
    check_kind(AF_UNIX, SOCK_STREAM);
}

static void local_dgram(void)
{
    check_kind(AF_UNIX, SOCK_DGRAM);
}

static void local_seqpacket(void)
{
    check_kind(AF_UNIX, SOCK_SEQPACKET);
}

static void udp4(void)
{
    check_kind(AF_INET, SOCK_DGRAM);
}

static void tcp4_whole(void)
{
    check_whole(AF_INET);
}

static void tcp6_whole(void)
{
    check_whole(AF_INET6);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(local), CHECK(local_dgram), CHECK(local_seqpacket), CHECK(udp4),
    CHECK(tcp4_whole), CHECK(tcp6_whole), CHECK(local_whole), CHECK(peek_offset),
};

TICKING_MAIN(checks)
