/* The flags of send: MSG_DONTWAIT, MSG_MORE, MSG_EOR, MSG_NOSIGNAL, MSG_OOB where there is none. */
#include <sys/ioctl.h>

#include "kit/net.h"
#include "kit/threads.h"

static void push(void *arg)
{
    MUST(send(*(int *)arg, "end", 3, 0));
}

static void dontwait(void)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    for (int i = 0; i < 3; i++) {
        int pair[2];
        struct iovec part = {"x", 1};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        struct mmsghdr headers[1] = {{.msg_hdr = header}};
        net_pair(families[i], SOCK_STREAM, pair);
        net_small_buffers(pair);
        net_fill(pair[0]);
        FAILS(send(pair[0], "x", 1, MSG_DONTWAIT), EAGAIN, "send");
        FAILS(sendto(pair[0], "x", 1, MSG_DONTWAIT, NULL, 0), EAGAIN, "sendto");
        FAILS(sendmsg(pair[0], &header, MSG_DONTWAIT), EAGAIN, "sendmsg");
        FAILS(sendmmsg(pair[0], headers, 1, MSG_DONTWAIT), EAGAIN, "sendmmsg");
        FAILS(recv(pair[0], &part, 1, MSG_DONTWAIT), EAGAIN, "recv the other way");
        HOLDS(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "the flag of one call stays there");
        net_close(pair);
    }
}

static void more_udp(void)
{
    int pair[2];
    char got[32];
    ssize_t n;
    net_pair(AF_INET, SOCK_DGRAM, pair);
    EQUALS(send(pair[1], "one ", 4, MSG_MORE), 4, "MSG_MORE");
    EQUALS(send(pair[1], "datagram ", 9, MSG_MORE), 9, "MSG_MORE again");
    FAILS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), EAGAIN, "nothing was sent yet");
    WHILE(push, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 16, "the pieces come as one datagram");
    BYTES(got, "one datagram end", 16, "in order");
    net_close(pair);
}

static void more_tcp(void)
{
    int pair[2];
    char got[32];
    ssize_t n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(send(pair[1], "one ", 4, MSG_MORE), 4, "MSG_MORE");
    FAILS(recv(pair[0], got, sizeof(got), MSG_DONTWAIT), EAGAIN, "held back");
    WHILE(push, &pair[1], n = recv(pair[0], got, 7, MSG_WAITALL));
    EQUALS(n, 7, "sent with the next");
    BYTES(got, "one end", 7, "in order");
    net_close(pair);
}

static void odd_flags(void)
{
    int pair[2];
    char got[8];
    net_pair(AF_UNIX, SOCK_DGRAM, pair);
    FAILS(send(pair[0], "x", 1, MSG_OOB), EOPNOTSUPP, "MSG_OOB on AF_UNIX datagrams");
    FAILS(recv(pair[0], got, 1, MSG_OOB), EOPNOTSUPP, "and receiving it");
    net_close(pair);
    net_pair(AF_UNIX, SOCK_SEQPACKET, pair);
    EQUALS(send(pair[0], "rec", 3, MSG_EOR), 3, "MSG_EOR on seqpacket");
    struct iovec part = {got, sizeof(got)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    EQUALS(recvmsg(pair[1], &header, 0), 3, "is one record");
    net_close(pair);
    net_pair(AF_INET, SOCK_STREAM, pair);
    EQUALS(send(pair[0], "abc", 3, MSG_DONTROUTE | MSG_CONFIRM | MSG_NOSIGNAL | MSG_EOR), 3,
           "flags that change nothing here");
    EQUALS(recv(pair[1], got, 3, MSG_WAITALL), 3, "and the data comes");
    int waiting = -1;
    EQUALS(send(pair[0], "abcd", 4, 0), 4, "send");
    sleep_ms(5);
    EQUALS(ioctl(pair[1], FIONREAD, &waiting), 0, "FIONREAD");
    EQUALS(waiting, 4, "counts");
    net_close(pair);
}

static const struct check checks[] = {CHECK(dontwait), CHECK(more_udp), CHECK(more_tcp),
                                      CHECK(odd_flags)};

TICKING_MAIN(checks)
