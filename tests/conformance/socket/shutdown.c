/* shutdown: half-closed connections, blocked readers and writers that it wakes, errors. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

struct ending {
    int fd, how;
};

static void shut(void *arg)
{
    struct ending *ending = arg;
    EQUALS(shutdown(ending->fd, ending->how), 0, "shutdown");
}

static void check_stream(int family, int type)
{
    int pair[2];
    char got[16];
    ssize_t n;
    net_pair(family, type, pair);
    struct ending ending = {pair[1], SHUT_WR};
    WHILE(shut, &ending, n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 0, "SHUT_WR of the peer ends a blocked read");
    EQUALS(recv(pair[0], got, sizeof(got), 0), 0, "and the next");
    EQUALS(send(pair[0], "back", 4, 0), 4, "the other way is open");
    EQUALS(recv(pair[1], got, sizeof(got), 0), 4, "and carries data");
    FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE, "the shut way does not");
    EQUALS(shutdown(pair[1], SHUT_WR), 0, "again is no error");
    net_close(pair);

    for (int how = SHUT_RD; how <= SHUT_RDWR; how += SHUT_RDWR) {
        net_pair(family, type, pair);
        ending = (struct ending){pair[0], how};
        WHILE(shut, &ending, n = recv(pair[0], got, sizeof(got), 0));
        EQUALS(n, 0, "shutdown of one's own end ends a blocked read");
        EQUALS(recv(pair[0], got, sizeof(got), 0), 0, "and the next");
        net_close(pair);
    }

    net_pair(family, type, pair);
    MUST(send(pair[1], "left", 4, 0));
    MUST(shutdown(pair[1], SHUT_RDWR));
    EQUALS(recv(pair[0], got, sizeof(got), 0), 4, "data sent before is read after");
    EQUALS(recv(pair[0], got, sizeof(got), 0), 0, "then the end");
    struct pollfd wait = {pair[0], POLLIN | POLLRDHUP, 0};
    EQUALS(poll(&wait, 1, 1000), 1, "poll tells of the end");
    HOLDS(wait.revents & POLLRDHUP, "by POLLRDHUP");
    net_close(pair);
}

/* A writer blocked on a full connection. */
static void check_writer(int family)
{
    static char block[1 << 20];
    int pair[2];
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    struct ending ending = {pair[0], SHUT_WR};
    WHILE(shut, &ending, n = send(pair[0], block, sizeof(block), MSG_NOSIGNAL));
    FAILS(n, EPIPE, "SHUT_WR ends a blocked send");
    net_close(pair);
}

struct reader {
    int fd;
    struct sleeper sleeper;
};

static void *read_once(void *arg)
{
    struct reader *reader = arg;
    char c;
    sleeper_here(&reader->sleeper);
    return (void *)(long)recv(reader->fd, &c, 1, 0);
}

/* Every one of several blocked readers is woken. */
static void check_several(int family, int type)
{
    enum { several = 6 };
    int pair[2];
    struct reader readers[several];
    pthread_t threads[several];
    net_pair(family, type, pair);
    for (int i = 0; i < several; i++) {
        readers[i] = (struct reader){.fd = pair[0]};
        threads[i] = start(read_once, &readers[i]);
    }
    for (int i = 0; i < several; i++)
        sleeper_settle(&readers[i].sleeper);
    EQUALS(shutdown(pair[0], SHUT_RDWR), 0, "shutdown");
    for (int i = 0; i < several; i++)
        EQUALS((long)finish(threads[i]), 0, "each reader is woken");
    net_close(pair);
}

static void tcp4(void)
{
    check_stream(AF_INET, SOCK_STREAM);
}

static void tcp6(void)
{
    check_stream(AF_INET6, SOCK_STREAM);
}

static void local_stream(void)
{
    check_stream(AF_UNIX, SOCK_STREAM);
}

static void local_seqpacket(void)
{
    check_stream(AF_UNIX, SOCK_SEQPACKET);
}

static void writer_tcp4(void)
{
    check_writer(AF_INET);
}

static void writer_local(void)
{
    check_writer(AF_UNIX);
}

static void several_readers(void)
{
    check_several(AF_INET, SOCK_STREAM);
    check_several(AF_UNIX, SOCK_STREAM);
    check_several(AF_UNIX, SOCK_SEQPACKET);
}

static void datagrams(void)
{
    int pair[2];
    char c;
    ssize_t n;
    net_pair(AF_INET, SOCK_DGRAM, pair);
    struct ending ending = {pair[0], SHUT_RD};
    WHILE(shut, &ending, n = recv(pair[0], &c, 1, 0));
    EQUALS(n, 0, "shutdown of a connected UDP socket ends its reader");
    net_close(pair);
    net_pair(AF_UNIX, SOCK_DGRAM, pair);
    ending.fd = pair[0];
    WHILE(shut, &ending, n = recv(pair[0], &c, 1, 0));
    EQUALS(n, 0, "of an AF_UNIX datagram socket too");
    net_close(pair);
}

static void errors(void)
{
    int pair[2];
    FAILS(shutdown(-1, SHUT_RD), EBADF, "descriptor -1");
    FAILS(shutdown(12345, SHUT_RD), EBADF, "a closed descriptor");
    MUST(pipe(pair));
    FAILS(shutdown(pair[0], SHUT_RD), ENOTSOCK, "a pipe");
    net_close(pair);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    FAILS(shutdown(pair[0], 3), EINVAL, "an unknown way");
    FAILS(shutdown(pair[0], -1), EINVAL, "a negative way");
    net_close(pair);
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    FAILS(shutdown(fd, SHUT_RD), ENOTCONN, "not connected");
    close(fd);
}

static const struct check checks[] = {
    CHECK(tcp4),         CHECK(tcp6),         CHECK(local_stream),    CHECK(local_seqpacket),
    CHECK(writer_tcp4),  CHECK(writer_local), CHECK(several_readers), CHECK(datagrams),
    CHECK(errors),
};

TICKING_MAIN(checks)
