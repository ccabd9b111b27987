/* MSG_TRUNC: the real length of a datagram, the flag of a cut one, and data dropped from TCP. */
#include "kit/net.h"
#include "kit/threads.h"

static void send_ten(void *arg)
{
    MUST(send(*(int *)arg, "0123456789", 10, 0));
}

static void check_packets(int family, int type)
{
    int pair[2];
    char got[16] = "";
    ssize_t n;
    net_pair(family, type, pair);
    WHILE(send_ten, &pair[1], n = recv(pair[0], got, 4, MSG_TRUNC));
    EQUALS(n, 10, "the real length");
    BYTES(got, "0123", 4, "and as much as there is room for");
    send_ten(&pair[1]);
    EQUALS(recv(pair[0], NULL, 0, MSG_TRUNC | MSG_PEEK), 10, "length by a peek");
    EQUALS(recv(pair[0], got, 4, 0), 4, "without the flag the room");
    FAILS(recv(pair[0], got, 4, MSG_DONTWAIT), EAGAIN, "the rest is gone");
    struct iovec part = {got, 4};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    WHILE(send_ten, &pair[1], n = recvmsg(pair[0], &header, 0));
    EQUALS(n, 4, "recvmsg gives the room");
    EQUALS(header.msg_flags & MSG_TRUNC, MSG_TRUNC, "and flags the cut");
    part.iov_len = sizeof(got);
    send_ten(&pair[1]);
    EQUALS(recvmsg(pair[0], &header, 0), 10, "with enough room the length");
    EQUALS(header.msg_flags & MSG_TRUNC, 0, "and no flag");
    net_close(pair);
}

static void tcp4_drops(void)
{
    int pair[2];
    char got[16] = "unwritten";
    ssize_t n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    WHILE(send_ten, &pair[1], n = recv(pair[0], got, 4, MSG_TRUNC));
    EQUALS(n, 4, "drops four");
    BYTES(got, "unwritten", 9, "writes nothing");
    EQUALS(recv(pair[0], got, 16, 0), 6, "the rest");
    BYTES(got, "456789", 6, "follows");
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

static void local_seqpacket(void)
{
    check_packets(AF_UNIX, SOCK_SEQPACKET);
}

static const struct check checks[] = {
    CHECK(udp4), CHECK(udp6), CHECK(local_dgram), CHECK(local_seqpacket), CHECK(tcp4_drops),
};

TICKING_MAIN(checks)
