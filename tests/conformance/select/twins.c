/* The names under which old programs call select, poll and the socket functions: each waits as the
 * plain name. */
#include <poll.h>
#include <sys/select.h>

#include "kit/net.h"
#include "kit/threads.h"

/* Exported by libc, declared by no header. */
extern int __select(int count, fd_set *in, fd_set *out, fd_set *except, struct timeval *limit);
extern int __poll(struct pollfd *fds, nfds_t count, int ms);
extern int __connect(int fd, const struct sockaddr *where, socklen_t length);
extern ssize_t __send(int fd, const void *from, size_t size, int flags);
extern int __sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags);
extern ssize_t __recv_chk(int fd, void *to, size_t size, size_t room, int flags);
extern ssize_t __recvfrom_chk(int fd, void *to, size_t size, size_t room, int flags,
                              struct sockaddr *from, socklen_t *length);

static int pair[2];
static long filled;

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static void drain(void *unused)
{
    (void)unused;
    net_drain(pair[1], filled);
}

static void waiting(void)
{
    fd_set in;
    struct timeval limit = {4, 0};
    struct pollfd fd;
    char c;
    int n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    FD_ZERO(&in);
    FD_SET(pair[0], &in);
    WHILE(send_byte, NULL, n = __select(pair[0] + 1, &in, NULL, NULL, &limit));
    EQUALS(n, 1, "__select");
    MUST(recv(pair[0], &c, 1, 0));
    fd = (struct pollfd){pair[0], POLLIN, 0};
    WHILE(send_byte, NULL, n = __poll(&fd, 1, 4000));
    EQUALS(n, 1, "__poll");
    MUST(recv(pair[0], &c, 1, 0));
    ssize_t got;
    WHILE(send_byte, NULL, got = __recv_chk(pair[0], &c, 1, 1, 0));
    EQUALS(got, 1, "__recv_chk");
    WHILE(send_byte, NULL, got = __recvfrom_chk(pair[0], &c, 1, 1, 0, NULL, NULL));
    EQUALS(got, 1, "__recvfrom_chk");
    net_close(pair);
}

static void sending(void)
{
    static char block[2 * 1024 * 1024];
    struct iovec part = {block, sizeof(block)};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    ssize_t n;
    int count;
    for (int i = 0; i < 2; i++) {
        net_pair(AF_INET, SOCK_STREAM, pair);
        net_small_buffers(pair);
        filled = net_fill(pair[0]) + (long)sizeof(block);
        if (i == 0) {
            WHILE(drain, NULL, n = __send(pair[0], block, sizeof(block), 0));
            EQUALS(n, sizeof(block), "__send");
        } else {
            WHILE(drain, NULL, count = __sendmmsg(pair[0], &header, 1, 0));
            EQUALS(count, 1, "__sendmmsg");
            EQUALS(header.msg_len, sizeof(block), "all of it");
        }
        net_close(pair);
    }
}

static struct address where;
static int listener;

static void accept_one(void *unused)
{
    (void)unused;
    close(MUST(accept(listener, NULL, NULL)));
}

static void connecting(void)
{
    int result;
    listener = net_listen(AF_UNIX, SOCK_STREAM, 0, &where);
    int first = net_connect(&where, SOCK_STREAM), fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    WHILE(accept_one, NULL, result = __connect(fd, &where.any, where.length));
    EQUALS(result, 0, "__connect");
    close(first);
    close(fd);
    close(listener);
}

static const struct check checks[] = {CHECK(waiting), CHECK(sending), CHECK(connecting)};

TICKING_MAIN(checks)
