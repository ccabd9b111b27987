/* O_NONBLOCK that the program sets is honoured and kept, by whatever means it was set; setting or
 * clearing it does not touch a call that waits already. */
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static void check_all_again(int fd)
{
    char got[8];
    struct iovec part = {got, sizeof(got)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr headers = {.msg_hdr = header};
    HOLDS(fcntl(fd, F_GETFL) & O_NONBLOCK, "the flag is on");
    FAILS(read(fd, got, 8), EAGAIN, "read");
    FAILS(readv(fd, &part, 1), EAGAIN, "readv");
    FAILS(recv(fd, got, 8, 0), EAGAIN, "recv");
    FAILS(recv(fd, got, 8, MSG_WAITALL), EAGAIN, "recv, MSG_WAITALL");
    FAILS(recv(fd, got, 8, MSG_PEEK), EAGAIN, "recv, MSG_PEEK");
    FAILS(recvfrom(fd, got, 8, 0, NULL, NULL), EAGAIN, "recvfrom");
    FAILS(recvmsg(fd, &header, 0), EAGAIN, "recvmsg");
    FAILS(recvmmsg(fd, &headers, 1, 0, NULL), EAGAIN, "recvmmsg");
    HOLDS(fcntl(fd, F_GETFL) & O_NONBLOCK, "the flag is still on");
}

static void set_by_fcntl(int fd, int on)
{
    MUST(fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0));
}

static void set_by_ioctl(int fd, int on)
{
    MUST(ioctl(fd, FIONBIO, &on));
}

static void set_by_ndelay(int fd, int on)
{
    int flags = MUST(fcntl(fd, F_GETFL));
    MUST(fcntl(fd, F_SETFL, on ? flags | O_NDELAY : flags & ~O_NDELAY));
}

static void send_byte(void *arg)
{
    MUST(send(*(int *)arg, "x", 1, 0));
}

static void check_set(void (*set)(int fd, int on))
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    for (int i = 0; i < 3; i++) {
        int pair[2];
        char c;
        ssize_t n;
        net_pair(families[i], SOCK_STREAM, pair);
        set(pair[0], 1);
        check_all_again(pair[0]);
        int twin = MUST(dup(pair[0]));
        check_all_again(twin);
        set(twin, 0);
        close(twin);
        EQUALS(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "the flag is off again");
        WHILE(send_byte, &pair[1], n = recv(pair[0], &c, 1, 0));
        EQUALS(n, 1, "and recv waits");
        net_close(pair);
    }
}

static void by_fcntl(void)
{
    check_set(set_by_fcntl);
}

static void by_ioctl(void)
{
    check_set(set_by_ioctl);
}

static void by_ndelay(void)
{
    check_set(set_by_ndelay);
}

static void when_made(void)
{
    struct address where;
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    check_all_again(pair[0]);
    check_all_again(pair[1]);
    net_close(pair);
    int listener = net_listen(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 4, &where);
    FAILS(accept(listener, NULL, NULL), EAGAIN, "accept on such a listener");
    int client = net_connect(&where, SOCK_STREAM);
    int fd = MUST(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    check_all_again(fd);
    close(fd);
    close(client);
    close(listener);
}

/* Set and cleared again and again while another thread is blocked: that call goes on waiting. */
static void toggle_then_send(void *arg)
{
    int *pair = arg;
    for (int i = 0; i < 4; i++) {
        char c;
        MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
        FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "another thread's call fails at once");
        ticker_wait(3);
        MUST(fcntl(pair[0], F_SETFL, 0));
        ticker_wait(3);
    }
    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    MUST(send(pair[1], "x", 1, 0));
}

static void under_a_waiter(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        char c = 0;
        ssize_t n;
        net_pair(families[i], SOCK_STREAM, pair);
        WHILE(toggle_then_send, pair, n = recv(pair[0], &c, 1, 0));
        EQUALS(n, 1, "the waiting call gets its byte");
        FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "the next one does not wait");
        net_close(pair);
    }
}

/* A loop of non-blocking calls must not keep other threads from running. */
static void spinning(void)
{
    int pair[2];
    char c;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    struct later later;
    later_start(&later, send_byte, &pair[1]);
    while (recv(pair[0], &c, 1, 0) < 0 && errno == EAGAIN)
        continue;
    later_join(&later);
    HOLDS(c == 'x', "a spinning reader gets the byte that another thread sends");
    net_close(pair);
}

/* RWF_NOWAIT is the program's own way of not waiting, for one call. */
static void nowait(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        char got[8];
        struct iovec part = {got, sizeof(got)};
        net_pair(families[i], SOCK_STREAM, pair);
        FAILS(preadv2(pair[0], &part, 1, -1, RWF_NOWAIT), EAGAIN, "with nothing there");
        MUST(send(pair[1], "word", 4, 0));
        EQUALS(preadv2(pair[0], &part, 1, -1, RWF_NOWAIT), 4, "with something there");
        FAILS(preadv2(pair[0], &part, 1, 0, RWF_NOWAIT), ESPIPE, "at an offset");
        FAILS(preadv2(pair[0], &part, 1, -1, 0x1000), EOPNOTSUPP, "an unknown flag");
        net_small_buffers(pair);
        net_fill(pair[0]);
        FAILS(pwritev2(pair[0], &part, 1, -1, RWF_NOWAIT), EAGAIN, "with no room");
        EQUALS(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
        net_close(pair);
    }
}

static const struct check checks[] = {CHECK(by_fcntl),  CHECK(by_ioctl),       CHECK(by_ndelay),
                                      CHECK(when_made), CHECK(under_a_waiter), CHECK(spinning),
                                      CHECK(nowait)};

TICKING_MAIN(checks)
