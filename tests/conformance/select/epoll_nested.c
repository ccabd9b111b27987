/* Epoll sets inside epoll sets, under poll and select too, down to the depth that the kernel
 * allows. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2];

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static void add(int set, int fd, uint32_t events)
{
    struct epoll_event wanted = {.events = events, .data.fd = fd};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted));
}

/* depth sets, the innermost with the socket; sets[0] is the outermost. */
static void nest(int *sets, int depth)
{
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    for (int i = 0; i < depth; i++)
        sets[i] = MUST(epoll_create1(0));
    add(sets[depth - 1], pair[0], EPOLLIN);
    for (int i = depth - 2; i >= 0; i--)
        add(sets[i], sets[i + 1], EPOLLIN);
}

static void unnest(int *sets, int depth)
{
    for (int i = 0; i < depth; i++)
        close(sets[i]);
    net_close(pair);
}

static void waits(void)
{
    for (int depth = 1; depth <= 5; depth++) {
        int sets[5], n;
        char c;
        struct epoll_event got;
        nest(sets, depth);
        EQUALS(epoll_wait(sets[0], &got, 1, 5), 0, "nothing yet");
        WHILE(send_byte, NULL, n = epoll_wait(sets[0], &got, 1, 4000));
        EQUALS(n, 1, "the outermost is woken");
        EQUALS(got.data.fd, depth == 1 ? pair[0] : sets[1], "by the next");
        for (int i = 1; i < depth; i++) {
            EQUALS(epoll_wait(sets[i], &got, 1, 0), 1, "each inner one knows");
        }
        MUST(recv(pair[0], &c, 1, 0));
        EQUALS(epoll_wait(sets[0], &got, 1, 0), 0, "then nothing again");
        struct pollfd wait = {sets[0], POLLIN, 0};
        WHILE(send_byte, NULL, n = poll(&wait, 1, 4000));
        EQUALS(n, 1, "poll on the outermost is woken");
        EQUALS(wait.revents, POLLIN, "POLLIN");
        MUST(recv(pair[0], &c, 1, 0));
        fd_set in;
        FD_ZERO(&in);
        FD_SET(sets[0], &in);
        struct timeval limit = {4, 0};
        WHILE(send_byte, NULL, n = select(sets[0] + 1, &in, NULL, NULL, &limit));
        EQUALS(n, 1, "select on the outermost is woken");
        unnest(sets, depth);
    }
}

static void limits(void)
{
    int sets[6];
    struct epoll_event wanted = {.events = EPOLLIN}, got;
    nest(sets, 5);
    sets[5] = MUST(epoll_create1(0));
    FAILS(epoll_ctl(sets[5], EPOLL_CTL_ADD, sets[0], &wanted), ELOOP, "one deeper");
    FAILS(epoll_ctl(sets[4], EPOLL_CTL_ADD, sets[0], &wanted), ELOOP, "a loop");
    int n;
    WHILE(send_byte, NULL, n = epoll_wait(sets[0], &got, 1, -1));
    EQUALS(n, 1, "the deepest that is allowed is waited for");
    struct pollfd wait = {sets[0], POLLIN, 0};
    char c;
    MUST(recv(pair[0], &c, 1, 0));
    WHILE(send_byte, NULL, n = poll(&wait, 1, -1));
    EQUALS(n, 1, "by poll too");
    close(sets[5]);
    unnest(sets, 5);
}

/* An outer set that is edge-triggered. */
static void edges(void)
{
    int sets[2], n;
    char c;
    struct epoll_event got;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    sets[0] = MUST(epoll_create1(0));
    sets[1] = MUST(epoll_create1(0));
    add(sets[1], pair[0], EPOLLIN);
    add(sets[0], sets[1], EPOLLIN | EPOLLET);
    WHILE(send_byte, NULL, n = epoll_wait(sets[0], &got, 1, 4000));
    EQUALS(n, 1, "woken");
    EQUALS(epoll_wait(sets[0], &got, 1, 5), 0, "once");
    MUST(recv(pair[0], &c, 1, 0));
    WHILE(send_byte, NULL, n = epoll_wait(sets[0], &got, 1, 4000));
    EQUALS(n, 1, "and again for new data");
    unnest(sets, 2);
}

static const struct check checks[] = {CHECK(waits), CHECK(limits), CHECK(edges)};

TICKING_MAIN(checks)
