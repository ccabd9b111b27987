/* Every form of sending, on every kind of socket that can be full: blocks while the way to the
 * peer is full and other threads run, goes on when the peer reads, and sends all of it. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

/* More than the small buffers of any kind hold, for streams. */
enum { stream_size = 2 * 1024 * 1024, packet_size = 1000 };
static char block[stream_size];

static ssize_t by_send(int fd, char *from, size_t size)
{
    return send(fd, from, size, 0);
}

static ssize_t by_sendto(int fd, char *from, size_t size)
{
    return sendto(fd, from, size, 0, NULL, 0);
}

static ssize_t by_sendmsg(int fd, char *from, size_t size)
{
    struct iovec parts[2] = {{from, size / 3}, {from + size / 3, size - size / 3}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(fd, &header, 0);
}

static ssize_t by_sendmmsg(int fd, char *from, size_t size)
{
    struct iovec part = {from, size};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    int n = sendmmsg(fd, &header, 1, 0);
    return n == 1 ? (ssize_t)header.msg_len : -1;
}

static ssize_t by_write(int fd, char *from, size_t size)
{
    return write(fd, from, size);
}

static ssize_t by_writev(int fd, char *from, size_t size)
{
    struct iovec parts[3] = {{from, 1}, {from + 1, 0}, {from + 1, size - 1}};
    return writev(fd, parts, 3);
}

static ssize_t by_pwritev2(int fd, char *from, size_t size)
{
    struct iovec parts[2] = {{from, 7}, {from + 7, size - 7}};
    return pwritev2(fd, parts, 2, -1, 0);
}

static const struct form {
    const char *name;
    ssize_t (*transmit)(int fd, char *from, size_t size);
} forms[] = {
    {"send", by_send},         {"sendto", by_sendto}, {"sendmsg", by_sendmsg},
    {"sendmmsg", by_sendmmsg}, {"write", by_write},   {"writev", by_writev},
    {"pwritev2 at -1", by_pwritev2},
};

struct reading {
    int fd;
    bool stream, right;
    long filled;
};

/* Drops what filled the way, then checks what the blocked call sent. */
static void read_all(void *arg)
{
    struct reading *reading = arg;
    char part[8192];
    size_t want = reading->stream ? stream_size : packet_size, seen = 0;
    if (reading->stream) {
        net_drain(reading->fd, reading->filled);
    } else {
        for (long left = reading->filled; left > 0;)
            left -= MUST_LONG(recv(reading->fd, part, sizeof(part), 0));
    }
    reading->right = true;
    while (seen < want) {
        ssize_t n = recv(reading->fd, part, sizeof(part), 0);
        if (n <= 0 || memcmp(part, block + seen, (size_t)n) != 0) {
            reading->right = false;
            return;
        }
        seen += (size_t)n;
    }
}

static void check_kind(int family, int type)
{
    bool stream = type == SOCK_STREAM;
    size_t size = stream ? stream_size : packet_size;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + (i >> 8));
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        int pair[2];
        ssize_t n;
        check_current = forms[f].name;
        net_pair(family, type, pair);
        net_small_buffers(pair);
        struct reading reading = {pair[1], stream, false, net_fill(pair[0])};
        WHILE(read_all, &reading, n = forms[f].transmit(pair[0], block, size));
        EQUALS(n, size, "waits for room and sends all");
        HOLDS(reading.right, "the peer gets it");
        HOLDS(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "leaves O_NONBLOCK off");
        net_close(pair);
    }
}

static void tcp4(void)
{
    check_kind(AF_INET, SOCK_STREAM);
}

static void tcp6(void)
{
    check_kind(AF_INET6, SOCK_STREAM);
}

static void local_stream(void)
{
    check_kind(AF_UNIX, SOCK_STREAM);
}

static void local_seqpacket(void)
{
    check_kind(AF_UNIX, SOCK_SEQPACKET);
}

static void local_dgram(void)
{
    check_kind(AF_UNIX, SOCK_DGRAM);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(local_stream), CHECK(local_seqpacket), CHECK(local_dgram),
};

TICKING_MAIN(checks)
