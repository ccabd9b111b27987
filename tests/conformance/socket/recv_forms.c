/* Every form of receiving, on every kind of connected socket: blocks while nothing is there and
 * other threads run, then gives exactly what the peer sent. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static const char message[] = "the quick brown fox";
enum { length = sizeof(message) - 1 };

static ssize_t by_recv(int fd, char *to, size_t size)
{
    return recv(fd, to, size, 0);
}

static ssize_t by_recvfrom(int fd, char *to, size_t size)
{
    struct address from;
    from.length = sizeof(from.room);
    return recvfrom(fd, to, size, 0, &from.any, &from.length);
}

static ssize_t by_recvmsg(int fd, char *to, size_t size)
{
    struct iovec parts[2] = {{to, 5}, {to + 5, size - 5}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2, .msg_flags = -1};
    ssize_t n = recvmsg(fd, &header, 0);
    EQUALS(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC | MSG_OOB), 0, "recvmsg's flags");
    return n;
}

static ssize_t by_recvmmsg(int fd, char *to, size_t size)
{
    struct iovec part = {to, size};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    int n = recvmmsg(fd, &header, 1, 0, NULL);
    return n == 1 ? (ssize_t)header.msg_len : -1;
}

static ssize_t by_read(int fd, char *to, size_t size)
{
    return read(fd, to, size);
}

static ssize_t by_readv(int fd, char *to, size_t size)
{
    struct iovec parts[3] = {{to, 1}, {to + 1, 0}, {to + 1, size - 1}};
    return readv(fd, parts, 3);
}

static ssize_t by_preadv2(int fd, char *to, size_t size)
{
    struct iovec parts[2] = {{to, 7}, {to + 7, size - 7}};
    return preadv2(fd, parts, 2, -1, 0);
}

static const struct form {
    const char *name;
    ssize_t (*receive)(int fd, char *to, size_t size);
} forms[] = {
    {"recv", by_recv},         {"recvfrom", by_recvfrom}, {"recvmsg", by_recvmsg},
    {"recvmmsg", by_recvmmsg}, {"read", by_read},         {"readv", by_readv},
    {"preadv2 at -1", by_preadv2},
};

static void send_message(void *arg)
{
    int fd = *(int *)arg;
    MUST(send(fd, message, length, 0));
}

static void end_writing(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

/* ends: a shutdown of the peer is seen as end of file. */
static void check_kind(int family, int type, bool ends)
{
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        int pair[2];
        char got[64] = "";
        ssize_t n;
        check_current = forms[f].name;
        net_pair(family, type, pair);
        WHILE(send_message, &pair[1], n = forms[f].receive(pair[0], got, sizeof(got)));
        if (EQUALS(n, length, "waits for the message"))
            BYTES(got, message, length, "and gets it");
        send_message(&pair[1]);
        memset(got, 0, sizeof(got));
        n = forms[f].receive(pair[0], got, sizeof(got));
        if (EQUALS(n, length, "takes one that is there"))
            BYTES(got, message, length, "and gets it");
        if (ends) {
            WHILE(end_writing, &pair[1], n = forms[f].receive(pair[0], got, sizeof(got)));
            EQUALS(n, 0, "gives 0 at the end");
        }
        HOLDS(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "leaves O_NONBLOCK off");
        net_close(pair);
    }
}

static void tcp4(void)
{
    check_kind(AF_INET, SOCK_STREAM, true);
}

static void tcp6(void)
{
    check_kind(AF_INET6, SOCK_STREAM, true);
}

static void local_stream(void)
{
    check_kind(AF_UNIX, SOCK_STREAM, true);
}

static void local_seqpacket(void)
{
    check_kind(AF_UNIX, SOCK_SEQPACKET, true);
}

static void local_dgram(void)
{
    check_kind(AF_UNIX, SOCK_DGRAM, false);
}

static void udp4(void)
{
    check_kind(AF_INET, SOCK_DGRAM, false);
}

static void udp6(void)
{
    check_kind(AF_INET6, SOCK_DGRAM, false);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(local_stream), CHECK(local_seqpacket), CHECK(local_dgram),
    CHECK(udp4), CHECK(udp6),
};

TICKING_MAIN(checks)
