/* Lengths of 0: empty datagrams are messages; recv of 0 bytes takes one, read of 0 bytes does
 * not; on a stream recv of 0 bytes waits for data, read of 0 bytes never does. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static void send_empty(void *arg)
{
    EQUALS(send(*(int *)arg, "", 0, 0), 0, "send an empty datagram");
}

static void send_word(void *arg)
{
    MUST(send(*(int *)arg, "word", 4, 0));
}

static void end_writing(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

static void check_packets(int family, int type)
{
    int pair[2];
    char got[8];
    ssize_t n;
    net_pair(family, type, pair);
    WHILE(send_empty, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 0, "recv waits for an empty datagram");
    WHILE(send_empty, &pair[1], n = read(pair[0], got, sizeof(got)));
    EQUALS(n, 0, "so does read");
    EQUALS(write(pair[1], "", 0), 0, "an empty write");
    send_word(&pair[1]);
    n = recv(pair[0], got, sizeof(got), 0);
    if (n == 0)
        n = recv(pair[0], got, sizeof(got), 0);
    EQUALS(n, 4, "then a word");

    EQUALS(read(pair[0], got, 0), 0, "read of 0 bytes does not wait");
    struct iovec none = {got, 0};
    EQUALS(readv(pair[0], &none, 1), 0, "readv neither");
    EQUALS(readv(pair[0], NULL, 0), 0, "without parts neither");
    send_word(&pair[1]);
    EQUALS(read(pair[0], got, 0), 0, "read of 0 bytes");
    EQUALS(recv(pair[0], got, sizeof(got), 0), 4, "leaves the datagram there");
    send_word(&pair[1]);
    EQUALS(recv(pair[0], got, 0, 0), 0, "recv of 0 bytes");
    FAILS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), EAGAIN, "takes it");
    WHILE(send_word, &pair[1], n = recv(pair[0], got, 0, 0));
    EQUALS(n, 0, "recv of 0 bytes waits for a datagram");
    FAILS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), EAGAIN, "and takes it");
    FAILS(recv(pair[0], got, 0, MSG_DONTWAIT), EAGAIN, "with MSG_DONTWAIT it does not wait");
    net_close(pair);
}

static void check_stream(int family)
{
    int pair[2];
    char got[8];
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    EQUALS(send(pair[1], "", 0, 0), 0, "send of 0 bytes");
    EQUALS(write(pair[1], "", 0), 0, "write of 0 bytes");
    FAILS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), EAGAIN, "sends nothing");
    EQUALS(read(pair[0], got, 0), 0, "read of 0 bytes does not wait");
    EQUALS(readv(pair[0], NULL, 0), 0, "readv of nothing neither");
    FAILS(recv(pair[0], got, 0, MSG_DONTWAIT), EAGAIN, "recv of 0 bytes, MSG_DONTWAIT");
    WHILE(send_word, &pair[1], n = recv(pair[0], got, 0, 0));
    EQUALS(n, 0, "recv of 0 bytes waits for data");
    EQUALS(recv(pair[0], got, 0, 0), 0, "with data there it does not");
    EQUALS(recv(pair[0], got, sizeof(got), 0), 4, "and leaves it");
    net_timeout(pair[0], SO_RCVTIMEO, 30);
    int64_t began = moment();
    n = recv(pair[0], got, 0, 0);
    HOLDS(n == -1 ? errno == EAGAIN : n == 0 && family != AF_UNIX, "SO_RCVTIMEO ends it");
    LASTED_TICKS(began, 30, "after its time");
    net_timeout(pair[0], SO_RCVTIMEO, 0);
    net_small_buffers(pair);
    net_fill(pair[1]);
    EQUALS(send(pair[1], "", 0, 0), 0, "send of 0 bytes when full does not wait");
    EQUALS(write(pair[1], "", 0), 0, "write neither");
    net_close(pair);
    net_pair(family, SOCK_STREAM, pair);
    WHILE(end_writing, &pair[1], n = recv(pair[0], got, 0, 0));
    EQUALS(n, 0, "recv of 0 bytes ends at the end of file");
    net_close(pair);
}

static void udp4(void)
{
    check_packets(AF_INET, SOCK_DGRAM);
}

static void udp6(void)
{
    check_packets(AF_INET6, SOCK_DGRAM);
}

static void local_dgram(void)
{
    check_packets(AF_UNIX, SOCK_DGRAM);
}

static void tcp4(void)
{
    check_stream(AF_INET);
}

static void tcp6(void)
{
    check_stream(AF_INET6);
}

static void local_stream(void)
{
    check_stream(AF_UNIX);
}

static const struct check checks[] = {CHECK(udp4), CHECK(udp6), CHECK(local_dgram),
                                      CHECK(tcp4), CHECK(tcp6), CHECK(local_stream)};

TICKING_MAIN(checks)
