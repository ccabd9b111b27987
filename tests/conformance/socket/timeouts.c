/* SO_RCVTIMEO and SO_SNDTIMEO on every call that they bear on: EAGAIN after the time, never
 * before, others run meanwhile, what had gone through is counted, and a signal gives EINTR even
 * with SA_RESTART. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { time_ms = 40, big_size = 8 * 1024 * 1024 };
static char big[big_size];

static ssize_t by_recv(int fd)
{
    return recv(fd, big, 100, 0);
}

static ssize_t by_recvfrom(int fd)
{
    return recvfrom(fd, big, 100, 0, NULL, NULL);
}

static ssize_t by_recvmsg(int fd)
{
    struct iovec part = {big, 100};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return recvmsg(fd, &header, 0);
}

static ssize_t by_recvmmsg(int fd)
{
    struct iovec part = {big, 100};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    return recvmmsg(fd, &header, 1, 0, NULL);
}

static ssize_t by_read(int fd)
{
    return read(fd, big, 100);
}

static ssize_t by_readv(int fd)
{
    struct iovec part = {big, 100};
    return readv(fd, &part, 1);
}

static ssize_t by_send(int fd)
{
    return send(fd, big, sizeof(big), 0);
}

static ssize_t by_sendto(int fd)
{
    return sendto(fd, big, sizeof(big), 0, NULL, 0);
}

static ssize_t by_sendmsg(int fd)
{
    struct iovec part = {big, sizeof(big)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &header, 0);
}

static ssize_t by_sendmmsg(int fd)
{
    struct iovec part = {big, sizeof(big)};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    int n = sendmmsg(fd, &header, 1, 0);
    return n == 1 ? (ssize_t)header.msg_len : n;
}

static ssize_t by_write(int fd)
{
    return write(fd, big, sizeof(big));
}

static ssize_t by_writev(int fd)
{
    struct iovec part = {big, sizeof(big)};
    return writev(fd, &part, 1);
}

struct form {
    const char *name;
    ssize_t (*call)(int fd);
};

static const struct form receiving[] = {
    {"recv", by_recv},         {"recvfrom", by_recvfrom}, {"recvmsg", by_recvmsg},
    {"recvmmsg", by_recvmmsg}, {"read", by_read},         {"readv", by_readv},
};
static const struct form sending[] = {
    {"send", by_send},         {"sendto", by_sendto}, {"sendmsg", by_sendmsg},
    {"sendmmsg", by_sendmmsg}, {"write", by_write},   {"writev", by_writev},
};

static void send_byte(void *arg)
{
    MUST(send(*(int *)arg, "x", 1, 0));
}

static void check_option(int fd, int option)
{
    struct timeval t = {-1, -1};
    socklen_t length = sizeof(t);
    EQUALS(getsockopt(fd, SOL_SOCKET, option, &t, &length), 0, "getsockopt");
    EQUALS(t.tv_sec * 1000000 + t.tv_usec, 40000, "says what was set");
}

static void check_receiving(int family, int type)
{
    for (size_t f = 0; f < sizeof(receiving) / sizeof(*receiving); f++) {
        int pair[2];
        ssize_t n;
        check_current = receiving[f].name;
        net_pair(family, type, pair);
        net_timeout(pair[0], SO_RCVTIMEO, time_ms);
        check_option(pair[0], SO_RCVTIMEO);
        unsigned long ticks = ticker_now();
        int64_t began = moment();
        FAILS(receiving[f].call(pair[0]), EAGAIN, "nothing comes");
        LASTED_TICKS(began, time_ms, "after its time");
        OTHERS_RAN(ticks, receiving[f].call(pair[0]));
        net_timeout(pair[0], SO_RCVTIMEO, 3000);
        WHILE(send_byte, &pair[1], n = receiving[f].call(pair[0]));
        EQUALS(n, 1, "something comes in time");
        if (f < 2) {
            signal_catch(SIGUSR1, SA_RESTART);
            KICKED(SIGUSR1, n = receiving[f].call(pair[0]));
            FAILS(n, EINTR, "a signal gives EINTR in spite of SA_RESTART");
            struct timeval none = {0, 0};
            MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)));
            WHILE(send_byte, &pair[1], n = receiving[f].call(pair[0]));
            EQUALS(n, 1, "a time-out of 0 means none");
        }
        HOLDS(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "O_NONBLOCK is off");
        net_close(pair);
    }
}

static void check_sending(int family)
{
    for (size_t f = 0; f < sizeof(sending) / sizeof(*sending); f++) {
        int pair[2];
        ssize_t n;
        check_current = sending[f].name;
        net_pair(family, SOCK_STREAM, pair);
        net_small_buffers(pair);
        net_timeout(pair[0], SO_SNDTIMEO, time_ms);
        check_option(pair[0], SO_SNDTIMEO);
        unsigned long ticks = ticker_now();
        int64_t began = moment();
        n = sending[f].call(pair[0]);
        HOLDS(n > 0 && n < big_size, "a part goes through and is counted");
        LASTED_TICKS(began, time_ms, "after its time");
        OTHERS_RAN(ticks, sending[f].call(pair[0]));
        net_fill(pair[0]);
        began = moment();
        FAILS(sending[f].call(pair[0]), EAGAIN, "nothing goes through");
        LASTED_TICKS(began, time_ms, "after its time");
        if (f == 0) {
            net_timeout(pair[0], SO_SNDTIMEO, 3000);
            signal_catch(SIGUSR1, SA_RESTART);
            KICKED(SIGUSR1, n = sending[f].call(pair[0]));
            FAILS(n, EINTR, "a signal gives EINTR in spite of SA_RESTART");
        }
        net_close(pair);
    }
}

static void receive_tcp4(void)
{
    check_receiving(AF_INET, SOCK_STREAM);
}

static void receive_local_stream(void)
{
    check_receiving(AF_UNIX, SOCK_STREAM);
}

static void receive_local_dgram(void)
{
    check_receiving(AF_UNIX, SOCK_DGRAM);
}

static void receive_udp4(void)
{
    check_receiving(AF_INET, SOCK_DGRAM);
}

static void send_tcp4(void)
{
    check_sending(AF_INET);
}

static void send_local(void)
{
    check_sending(AF_UNIX);
}

static void odd_values(void)
{
    int pair[2];
    char c;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct timeval t = {0, 1};
    EQUALS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0, "one microsecond");
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "ends soon");
    t = (struct timeval){0, 1000000};
    FAILS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), EDOM,
          "a whole second of microseconds");
    t = (struct timeval){-1, 0};
    EQUALS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0, "a negative time");
    int64_t began = moment();
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "is over already");
    LASTED(began, 0, "at once");
    FAILS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, 1), EINVAL, "too short a value");
    net_close(pair);
}

/* The time-out belongs to the socket: whoever has a duplicate feels it. */
static void duplicate(void)
{
    int pair[2];
    char c;
    net_pair(AF_INET, SOCK_STREAM, pair);
    int twin = MUST(dup(pair[0]));
    net_timeout(twin, SO_RCVTIMEO, time_ms);
    int64_t began = moment();
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "set on a duplicate");
    LASTED_TICKS(began, time_ms, "after its time");
    close(twin);
    began = moment();
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "and the duplicate closed");
    LASTED_TICKS(began, time_ms, "after its time");
    net_close(pair);
}

static void set_late_and_send(void *arg)
{
    net_timeout(((int *)arg)[0], SO_RCVTIMEO, 1);
    ticker_wait(20);
    MUST(send(((int *)arg)[1], "x", 1, 0));
}

/* A time-out that is set while a call waits does not end that call. */
static void set_while_waiting(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        char c = 0;
        ssize_t n;
        net_pair(families[i], SOCK_STREAM, pair);
        WHILE(set_late_and_send, pair, n = recv(pair[0], &c, 1, 0));
        EQUALS(n, 1, "the waiting call is not ended");
        FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "the next one is");
        net_close(pair);
    }
}

static const struct check checks[] = {
    CHECK(receive_tcp4), CHECK(receive_local_stream), CHECK(receive_local_dgram),
    CHECK(receive_udp4), CHECK(send_tcp4),            CHECK(send_local),
    CHECK(odd_values),   CHECK(duplicate),            CHECK(set_while_waiting),
};

TICKING_MAIN(checks)
