/* dup2 over a socket that somebody waits on, and duplicates: the call that waits stays with the
 * socket it began on, later calls go to the new one. */
#include "kit/net.h"
#include "kit/threads.h"

struct waiter {
    int fd;
    char data[64];
    ssize_t result;
    struct sleeper sleeper;
};

static void *receive(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = recv(waiter->fd, waiter->data, sizeof(waiter->data), 0);
    return NULL;
}

static void check_replace(int family, int (*replace)(int from, int to))
{
    int old[2], new[2];
    char got[8];
    net_pair(family, SOCK_STREAM, old);
    net_pair(family, SOCK_STREAM, new);
    struct waiter first = {.fd = old[0]}, second = {.fd = old[0]};
    pthread_t one = start(receive, &first);
    sleeper_settle(&first.sleeper);
    EQUALS(replace(new[0], old[0]), old[0], "replace the descriptor under a reader");
    pthread_t two = start(receive, &second);
    sleeper_settle(&second.sleeper);
    EQUALS(send(new[1], "new", 3, 0), 3, "data for the new socket");
    finish(two);
    EQUALS(second.result, 3, "goes to the reader that came after");
    BYTES(second.data, "new", 3, "as it was sent");
    FAILS(recv(old[1], got, 1, MSG_DONTWAIT), EAGAIN, "the old peer sees no end yet");
    EQUALS(send(old[1], "old", 3, 0), 3, "data for the old socket");
    finish(one);
    EQUALS(first.result, 3, "goes to the reader that came before");
    BYTES(first.data, "old", 3, "as it was sent");
    EQUALS(recv(old[1], got, 1, 0), 0, "then the old peer sees the end");
    EQUALS(send(old[0], "out", 3, 0), 3, "the number writes");
    EQUALS(recv(new[1], got, 3, MSG_WAITALL), 3, "to the new peer");
    close(new[0]);
    FAILS(recv(new[1], got, 1, MSG_DONTWAIT), EAGAIN, "the duplicate keeps the new one open");
    close(old[0]);
    EQUALS(recv(new[1], got, 1, 0), 0, "until it is closed too");
    close(old[1]);
    close(new[1]);
}

static int by_dup2(int from, int to)
{
    return dup2(from, to);
}

static int by_dup3(int from, int to)
{
    return dup3(from, to, O_CLOEXEC);
}

/* close, then the lowest free number. */
static int by_close_and_dup(int from, int to)
{
    int fd;
    close(to);
    fd = fcntl(from, F_DUPFD, to);
    return fd;
}

static void dup2_tcp4(void)
{
    check_replace(AF_INET, by_dup2);
}

static void dup2_local(void)
{
    check_replace(AF_UNIX, by_dup2);
}

static void dup3_tcp6(void)
{
    check_replace(AF_INET6, by_dup3);
}

static void close_and_dup(void)
{
    check_replace(AF_UNIX, by_close_and_dup);
}

/* Readers on several duplicates of one socket; one of the duplicates is closed. */
static void duplicates(void)
{
    enum { several = 4 };
    int pair[2];
    struct waiter waiters[several];
    pthread_t threads[several];
    net_pair(AF_INET, SOCK_STREAM, pair);
    for (int i = 0; i < several; i++) {
        waiters[i] = (struct waiter){.fd = MUST(dup(pair[0]))};
        threads[i] = start(receive, &waiters[i]);
    }
    for (int i = 0; i < several; i++)
        sleeper_settle(&waiters[i].sleeper);
    close(pair[0]);
    close(waiters[0].fd);
    ticker_wait(5);
    long total = 0;
    for (int i = 0; i < several; i++) {
        EQUALS(send(pair[1], "x", 1, 0), 1, "one byte for each");
        ticker_wait(10);
    }
    MUST(shutdown(pair[1], SHUT_WR));
    for (int i = 0; i < several; i++) {
        finish(threads[i]);
        total += waiters[i].result;
    }
    EQUALS(total, several, "every byte was read once");
    for (int i = 1; i < several; i++)
        close(waiters[i].fd);
    close(pair[1]);
}

/* A file put over a socket that is waited on, as daemons do with /dev/null. */
static void null_over_it(void)
{
    int pair[2];
    char c;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(receive, &waiter);
    sleeper_settle(&waiter.sleeper);
    int null = MUST(open("/dev/null", O_RDWR));
    EQUALS(dup2(null, pair[0]), pair[0], "dup2 of /dev/null over it");
    EQUALS(read(pair[0], &c, 1), 0, "the number reads /dev/null");
    EQUALS(write(pair[0], "gone", 4), 4, "and writes it");
    EQUALS(send(pair[1], "stay", 4, 0), 4, "the peer can still send");
    finish(thread);
    EQUALS(waiter.result, 4, "the reader gets it");
    close(null);
    net_close(pair);
}

static const struct check checks[] = {CHECK(dup2_tcp4),  CHECK(dup2_local),    CHECK(dup3_tcp6),
                                      CHECK(close_and_dup), CHECK(duplicates), CHECK(null_over_it)};

TICKING_MAIN(checks)
