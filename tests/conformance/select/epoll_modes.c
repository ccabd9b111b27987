/* Level-triggered, edge-triggered and one-shot watches, exact masks, and what closing does. */
#include <sys/epoll.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2], set;
static struct epoll_event got[8];

static void set_up(uint32_t events)
{
    struct epoll_event wanted = {.events = events, .data.fd = 0};
    net_pair(AF_INET, SOCK_STREAM, pair);
    wanted.data.fd = pair[0];
    set = MUST(epoll_create1(0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
}

static void tear_down(void)
{
    close(set);
    net_close(pair);
}

static void send_word(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "word", 4, 0));
}

static void send_urgent(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "!", 1, MSG_OOB));
}

static void end_writing(void *unused)
{
    (void)unused;
    MUST(shutdown(pair[1], SHUT_WR));
}

static void reset(void *unused)
{
    struct linger hard = {1, 0};
    (void)unused;
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(pair[1]);
}

static int ready(int ms)
{
    got[0].events = 0;
    return epoll_wait(set, got, 8, ms);
}

static void level(void)
{
    char c[8];
    int n;
    set_up(EPOLLIN);
    WHILE(send_word, NULL, n = ready(4000));
    EQUALS(n, 1, "woken");
    EQUALS(ready(0), 1, "told again");
    MUST(recv(pair[0], c, 2, 0));
    EQUALS(ready(0), 1, "as long as something is left");
    MUST(recv(pair[0], c, 2, 0));
    EQUALS(ready(0), 0, "then no more");
    tear_down();
}

static void edge(void)
{
    char c[16];
    int n;
    set_up(EPOLLIN | EPOLLET);
    WHILE(send_word, NULL, n = ready(4000));
    EQUALS(n, 1, "woken");
    EQUALS(ready(10), 0, "told once");
    WHILE(send_word, NULL, n = ready(4000));
    EQUALS(n, 1, "new data is told");
    MUST(recv(pair[0], c, 8, MSG_WAITALL));
    EQUALS(ready(10), 0, "reading is not");
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = pair[0]};
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &wanted));
    EQUALS(ready(1000), 1, "a change asks anew");
    EQUALS(got[0].events, EPOLLOUT, "EPOLLOUT");
    EQUALS(ready(10), 0, "told once");
    WHILE(end_writing, NULL, n = ready(4000));
    EQUALS(n, 1, "the end is told");
    EQUALS(got[0].events, EPOLLIN | EPOLLOUT, "EPOLLIN and EPOLLOUT");
    tear_down();
}

static void one_shot(void)
{
    char c[16];
    int n;
    set_up(EPOLLIN | EPOLLONESHOT);
    WHILE(send_word, NULL, n = ready(4000));
    EQUALS(n, 1, "woken");
    EQUALS(ready(10), 0, "told once");
    send_word(NULL);
    EQUALS(ready(10), 0, "also of new data");
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = pair[0]};
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &wanted));
    EQUALS(ready(1000), 1, "armed again it tells");
    MUST(recv(pair[0], c, 8, MSG_WAITALL));
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &wanted));
    WHILE(send_word, NULL, n = ready(4000));
    EQUALS(n, 1, "and waits");
    tear_down();
}

static void exact_masks(void)
{
    char c;
    int n;
    set_up(EPOLLPRI);
    send_word(NULL);
    EQUALS(ready(20), 0, "EPOLLPRI does not hear plain data");
    WHILE(send_urgent, NULL, n = ready(4000));
    EQUALS(n, 1, "urgent data");
    EQUALS(got[0].events, EPOLLPRI, "EPOLLPRI alone");
    MUST(recv(pair[0], &c, 1, MSG_OOB));
    tear_down();
    set_up(EPOLLRDHUP);
    send_word(NULL);
    EQUALS(ready(20), 0, "EPOLLRDHUP does not hear data");
    WHILE(end_writing, NULL, n = ready(4000));
    EQUALS(n, 1, "the end");
    EQUALS(got[0].events, EPOLLRDHUP, "EPOLLRDHUP alone");
    tear_down();
    set_up(0);
    WHILE(reset, NULL, n = ready(4000));
    EQUALS(n, 1, "a reset");
    EQUALS(got[0].events, EPOLLERR | EPOLLHUP, "EPOLLERR and EPOLLHUP though not asked for");
    close(set);
    close(pair[0]);
}

/* Closing removes a descriptor from the set, but for its duplicates. */
static void closing(void)
{
    set_up(EPOLLIN);
    send_word(NULL);
    EQUALS(ready(1000), 1, "ready");
    int twin = MUST(dup(pair[0]));
    close(pair[0]);
    EQUALS(ready(1000), 1, "a duplicate keeps it in the set");
    EQUALS(got[0].data.fd, pair[0], "under its old name");
    close(twin);
    EQUALS(ready(10), 0, "when the last is closed it is gone");
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = 4711};
    int other[2];
    net_pair(AF_UNIX, SOCK_STREAM, other);
    EQUALS(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &wanted), 0, "the number can be added again");
    MUST(send(other[1], "x", 1, 0));
    EQUALS(ready(1000), 1, "and is told");
    EQUALS(got[0].data.fd, 4711, "as added");
    net_close(other);
    close(pair[1]);
    close(set);
}

/* Several descriptors, fewer places: each gets its turn. */
static void turns(void)
{
    enum { many = 6 };
    int ends[many][2], seen[many] = {0};
    set = MUST(epoll_create1(0));
    for (int i = 0; i < many; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = i};
        MUST(pipe(ends[i]));
        MUST(write(ends[i][1], "x", 1));
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[i][0], &wanted));
    }
    for (int i = 0; i < many; i++) {
        EQUALS(epoll_wait(set, got, 2, 1000), 2, "two at a time");
        seen[got[0].data.fd]++;
        seen[got[1].data.fd]++;
    }
    for (int i = 0; i < many; i++) {
        EQUALS(seen[i], 2, "each as often as the others");
        close(ends[i][0]);
        close(ends[i][1]);
    }
    close(set);
}

static const struct check checks[] = {CHECK(level),       CHECK(edge),    CHECK(one_shot),
                                      CHECK(exact_masks), CHECK(closing), CHECK(turns)};

TICKING_MAIN(checks)
