/* close of a descriptor that another thread is blocked on. The call that waits holds the socket:
 * it gets the data that comes, the peer sees no end until the call is over, and the number may be
 * taken by something else meanwhile. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

struct waiter {
    int fd;
    char data[64];
    ssize_t result;
    int error;
    struct sleeper sleeper;
};

static void *receive(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = recv(waiter->fd, waiter->data, sizeof(waiter->data), 0);
    waiter->error = errno;
    return NULL;
}

static char block[1 << 20];

static void *transmit(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = send(waiter->fd, block, sizeof(block), MSG_NOSIGNAL);
    waiter->error = errno;
    return NULL;
}

static void *poll_it(void *arg)
{
    struct waiter *waiter = arg;
    struct pollfd wait = {waiter->fd, POLLIN, 0};
    sleeper_here(&waiter->sleeper);
    waiter->result = poll(&wait, 1, 4000);
    waiter->error = wait.revents;
    return NULL;
}

static void check_reader(int family, int type)
{
    int pair[2];
    char got[8];
    net_pair(family, type, pair);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(receive, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(pair[0]), 0, "close under a reader");
    FAILS(close(pair[0]), EBADF, "close again");
    FAILS(recv(pair[0], got, 1, 0), EBADF, "the number is free");
    ticker_wait(10);
    if (type == SOCK_STREAM)
        FAILS(recv(pair[1], got, 1, MSG_DONTWAIT), EAGAIN, "the peer sees no end yet");
    int other[2];
    net_pair(AF_UNIX, SOCK_STREAM, other);
    HOLDS(other[0] == pair[0] || other[1] == pair[0], "the number is taken again");
    MUST(send(other[0], "to 1", 4, 0));
    MUST(send(other[1], "to 0", 4, 0));
    ticker_wait(10);
    EQUALS(recv(other[0], got, 4, MSG_DONTWAIT), 4, "by a socket whose data nobody stole");
    EQUALS(recv(other[1], got, 4, MSG_DONTWAIT), 4, "either end of it");
    EQUALS(send(pair[1], "late", 4, MSG_NOSIGNAL), 4, "the peer can still send");
    finish(thread);
    EQUALS(waiter.result, 4, "the reader gets it");
    BYTES(waiter.data, "late", 4, "as it was sent");
    if (type == SOCK_STREAM)
        EQUALS(recv(pair[1], got, 1, 0), 0, "now the peer sees the end");
    close(pair[1]);
    net_close(other);
}

static void check_writer(int family)
{
    int pair[2];
    net_pair(family, SOCK_STREAM, pair);
    net_small_buffers(pair);
    long filled = net_fill(pair[0]);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(transmit, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(pair[0]), 0, "close under a writer");
    FAILS(send(pair[0], "x", 1, 0), EBADF, "the number is free");
    ticker_wait(10);
    net_drain(pair[1], filled + (long)sizeof(block));
    finish(thread);
    EQUALS(waiter.result, sizeof(block), "the writer writes all");
    char c;
    EQUALS(recv(pair[1], &c, 1, 0), 0, "then the peer sees the end");
    close(pair[1]);
}

static void reader_tcp4(void)
{
    check_reader(AF_INET, SOCK_STREAM);
}

static void reader_tcp6(void)
{
    check_reader(AF_INET6, SOCK_STREAM);
}

static void reader_local(void)
{
    check_reader(AF_UNIX, SOCK_STREAM);
}

static void reader_seqpacket(void)
{
    check_reader(AF_UNIX, SOCK_SEQPACKET);
}

static void reader_udp4(void)
{
    check_reader(AF_INET, SOCK_DGRAM);
}

static void writer_tcp4(void)
{
    check_writer(AF_INET);
}

static void writer_local(void)
{
    check_writer(AF_UNIX);
}

/* A closing peer of a reader whose own number is closed: it ends. */
static void both_ends(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(receive, &waiter);
    sleeper_settle(&waiter.sleeper);
    close(pair[0]);
    ticker_wait(5);
    close(pair[1]);
    finish(thread);
    EQUALS(waiter.result, 0, "the reader sees the peer's end");
}

static void under_poll(void)
{
    int pair[2];
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(poll_it, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(pair[0]), 0, "close under poll");
    ticker_wait(10);
    MUST(send(pair[1], "x", 1, 0));
    finish(thread);
    EQUALS(waiter.result, 1, "poll is woken by what comes");
    EQUALS(waiter.error, POLLNVAL, "and then finds the number closed");
    close(pair[1]);
}

/* The program that closes and then signals, so that its worker notices. */
static void then_signal(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    signal_catch(SIGUSR1, 0);
    struct waiter waiter = {.fd = pair[0]};
    pthread_t thread = start(receive, &waiter);
    sleeper_settle(&waiter.sleeper);
    close(pair[0]);
    while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(5);
    }
    EQUALS(waiter.result, -1, "the signal ends it");
    EQUALS(waiter.error, EINTR, "with EINTR");
    char c;
    EQUALS(recv(pair[1], &c, 1, 0), 0, "then the peer sees the end");
    close(pair[1]);
}

static const struct check checks[] = {
    CHECK(reader_tcp4), CHECK(reader_tcp6), CHECK(reader_local), CHECK(reader_seqpacket),
    CHECK(reader_udp4), CHECK(writer_tcp4), CHECK(writer_local), CHECK(both_ends),
    CHECK(under_poll),  CHECK(then_signal),
};

TICKING_MAIN(checks)
