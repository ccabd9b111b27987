/* Every form of sending, on every kind of socket that can be full: blocks while the way to the
 * peer is full and other threads run, goes on when the peer reads, and sends all of it. */
#include <sys/uio.h>

#include "../kit/net.h"
#include "../kit/threads.h"

/* More than the small buffers of any kind hold, for streams. */
enum { stream_size = 512 * 1024, packet_size = 1000 };
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

static const struct kind {
    const char *name;
    int family, type;
} kinds[] = {
    {"tcp4", AF_INET, SOCK_STREAM},
    {"tcp6", AF_INET6, SOCK_STREAM},
    {"unix stream", AF_UNIX, SOCK_STREAM},
    {"unix seqpacket", AF_UNIX, SOCK_SEQPACKET},
    {"unix dgram", AF_UNIX, SOCK_DGRAM},
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

int main(void)
{
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + (i >> 8));
    ticker_start();
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
        for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
            bool stream = kinds[k].type == SOCK_STREAM;
            size_t size = stream ? stream_size : packet_size;
            int pair[2];
            char what[96];
            ssize_t n;
            net_pair(kinds[k].family, kinds[k].type, pair);
            net_small_buffers(pair);
            struct reading reading = {pair[1], stream, false, net_fill(pair[0])};
            snprintf(what, sizeof(what), "%s on a full %s waits for room", forms[f].name,
                     kinds[k].name);
            WHILE(read_all, &reading, n = forms[f].transmit(pair[0], block, size));
            CHECK_INT(n, size, what);
            CHECK(reading.right, "  and the peer gets it");
            CHECK(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK), "  leaves O_NONBLOCK off");
            net_close(pair);
        }
    }
    ticker_stop();
    return check_done();
}
