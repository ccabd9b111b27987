/* Every form of receiving, on every kind of connected socket: blocks while nothing is there and
 * other threads run, then gives exactly what the peer sent. */
#include <sys/uio.h>

#include "../kit/net.h"
#include "../kit/threads.h"

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
    if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC | MSG_OOB))
        say("FAILED recvmsg flags");
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

static const struct kind {
    const char *name;
    int family, type;
    bool ends; /* a shutdown of the peer is seen as end of file */
} kinds[] = {
    {"tcp4", AF_INET, SOCK_STREAM, true},
    {"tcp6", AF_INET6, SOCK_STREAM, true},
    {"unix stream", AF_UNIX, SOCK_STREAM, true},
    {"unix seqpacket", AF_UNIX, SOCK_SEQPACKET, true},
    {"unix dgram", AF_UNIX, SOCK_DGRAM, false},
    {"udp4", AF_INET, SOCK_DGRAM, false},
    {"udp6", AF_INET6, SOCK_DGRAM, false},
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

int main(void)
{
    ticker_start();
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
        for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
            int pair[2];
            char what[96], got[64] = "";
            ssize_t n;
            net_pair(kinds[k].family, kinds[k].type, pair);
            snprintf(what, sizeof(what), "%s on %s waits for the message", forms[f].name,
                     kinds[k].name);
            WHILE(send_message, &pair[1], n = forms[f].receive(pair[0], got, sizeof(got)));
            if (CHECK_INT(n, length, what))
                CHECK_BYTES(got, message, length, "  and gets it");
            send_message(&pair[1]);
            memset(got, 0, sizeof(got));
            n = forms[f].receive(pair[0], got, sizeof(got));
            if (CHECK_INT(n, length, "  takes one that is there"))
                CHECK_BYTES(got, message, length, "  and gets it");
            if (kinds[k].ends) {
                WHILE(end_writing, &pair[1], n = forms[f].receive(pair[0], got, sizeof(got)));
                if (forms[f].receive == by_recvmmsg)
                    CHECK(n == 0, "  gives 0 at the end");
                else
                    CHECK_INT(n, 0, "  gives 0 at the end");
            }
            CHECK(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "  leaves O_NONBLOCK off");
            net_close(pair);
        }
    }
    ticker_stop();
    return check_done();
}
