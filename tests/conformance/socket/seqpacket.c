/* AF_UNIX SOCK_SEQPACKET and socketpair: records keep their bounds, cut ones say so, ends are
 * seen; socketpair's flags and errors. */
#include "kit/net.h"
#include "kit/threads.h"

static void send_records(void *arg)
{
    for (size_t i = 1; i <= 5; i++) {
        MUST(send(*(int *)arg, "abcdefgh", i, MSG_EOR));
        ticker_wait(2);
    }
    close(*(int *)arg);
}

static void *take_records(void *arg)
{
    char got[16];
    for (int i = 1; i <= 5; i++)
        EQUALS(recv(*(int *)arg, got, sizeof(got), 0), i, "one record at a time");
    EQUALS(recv(*(int *)arg, got, sizeof(got), 0), 0, "then the end");
    return NULL;
}

static void records(void)
{
    int pair[2];
    char got[16];
    net_pair(AF_UNIX, SOCK_SEQPACKET, pair);
    pthread_t thread = start(take_records, &pair[0]);
    send_records(&pair[1]);
    finish(thread);
    close(pair[0]);

    net_pair(AF_UNIX, SOCK_SEQPACKET, pair);
    MUST(send(pair[1], "0123456789", 10, 0));
    MUST(send(pair[1], "next", 4, 0));
    EQUALS(read(pair[0], got, 4), 4, "read takes a part");
    EQUALS(read(pair[0], got, 16), 4, "and the rest of the record is gone");
    BYTES(got, "next", 4, "the next comes");
    MUST(send(pair[1], "01234", 5, 0));
    MUST(send(pair[1], "56789", 5, 0));
    EQUALS(recv(pair[0], got, 10, MSG_WAITALL), 5, "MSG_WAITALL does not join records");
    EQUALS(recv(pair[0], got, 10, MSG_WAITALL), 5, "never");
    net_close(pair);
}

static void listening(void)
{
    struct address where;
    char got[16];
    int listener = net_listen(AF_UNIX, SOCK_SEQPACKET, 4, &where);
    int client = net_connect(&where, SOCK_SEQPACKET);
    int fd = MUST(accept(listener, NULL, NULL));
    ssize_t n;
    WHILE(send_records, &client, n = recv(fd, got, sizeof(got), 0));
    EQUALS(n, 1, "the first record");
    for (int i = 2; i <= 5; i++)
        EQUALS(recv(fd, got, sizeof(got), 0), i, "the next");
    EQUALS(recv(fd, got, sizeof(got), 0), 0, "the end");
    close(fd);
    close(listener);
}

static void pairs(void)
{
    int pair[2];
    char c;
    FAILS(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP, "AF_INET");
    FAILS(socketpair(AF_UNIX, 99, 0, pair), EINVAL, "an unknown type");
    FAILS(socketpair(AF_UNIX, SOCK_RDM, 0, pair), ESOCKTNOSUPPORT, "a type that it has not");
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 7, pair), EPROTONOSUPPORT, "an unknown protocol");
    FAILS(socketpair(12345, SOCK_STREAM, 0, pair), EAFNOSUPPORT, "an unknown family");
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, bad_pointer), EFAULT, "a bad address");
    EQUALS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0, "flags");
    EQUALS(fcntl(pair[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC, "SOCK_CLOEXEC");
    EQUALS(fcntl(pair[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK, "SOCK_NONBLOCK");
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "does not wait");
    net_close(pair);
    EQUALS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0, "no flags");
    EQUALS(fcntl(pair[0], F_GETFD) & FD_CLOEXEC, 0, "no FD_CLOEXEC");
    EQUALS(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0, "no O_NONBLOCK");
    net_close(pair);
}

static const struct check checks[] = {CHECK(records), CHECK(listening), CHECK(pairs)};

TICKING_MAIN(checks)
