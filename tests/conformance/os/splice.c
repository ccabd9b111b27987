/* splice, tee and vmsplice: each waits on an empty source and a full destination. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static char block[65536], sink[200000];
static int from[2], to[2];

static void pipes_make(void)
{
    MUST(pipe(from));
    MUST(pipe(to));
}

static void pipes_drop(void)
{
    net_close(from);
    net_close(to);
}

static void write_word(void *arg)
{
    MUST(write(*(int *)arg, "word", 4));
}

static void close_it(void *arg)
{
    close(*(int *)arg);
}

static void drain_some(void *arg)
{
    MUST(read(*(int *)arg, sink, 65536));
}

static void between_pipes(void)
{
    char got[16];
    ssize_t n;
    pipes_make();
    WHILE(write_word, &from[1], n = splice(from[0], NULL, to[1], NULL, 100, 0));
    EQUALS(n, 4, "splice waits for data");
    EQUALS(read(to[0], got, sizeof(got)), 4, "and moves it");
    FAILS(splice(from[0], NULL, to[1], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN,
          "SPLICE_F_NONBLOCK does not wait");
    MUST(write(to[1], block, sizeof(block)));
    MUST(write(from[1], "data", 4));
    WHILE(drain_some, &to[0], n = splice(from[0], NULL, to[1], NULL, 4, 0));
    EQUALS(n, 4, "splice waits for room");
    EQUALS(read(to[0], got, sizeof(got)), 4, "and moves the data");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = splice(from[0], NULL, to[1], NULL, 100, 0));
    FAILS(n, EINTR, "a signal interrupts it");
    EQUALS(splice(from[0], NULL, to[1], NULL, 0, 0), 0, "nothing asked for");
    FAILS(splice(from[0], NULL, to[1], NULL, 1, 0x100), EINVAL, "an unknown flag");
    off_t at = 0;
    FAILS(splice(from[0], &at, to[1], NULL, 1, 0), ESPIPE, "an offset for a pipe");
    WHILE(close_it, &from[1], n = splice(from[0], NULL, to[1], NULL, 100, 0));
    EQUALS(n, 0, "the end of the source");
    EQUALS(fcntl(from[0], F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    close(from[0]);
    net_close(to);
}

struct draining {
    int fd;
    long length;
};

static void drain_all(void *arg)
{
    struct draining *draining = arg;
    net_drain(draining->fd, draining->length);
}

static void with_sockets(void)
{
    int pair[2];
    char got[16];
    ssize_t n;
    pipes_make();
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    WHILE(write_word, &pair[1], n = splice(pair[0], NULL, to[1], NULL, 100, 0));
    EQUALS(n, 4, "splice from a socket waits for data");
    EQUALS(read(to[0], got, sizeof(got)), 4, "and moves it");
    WHILE(write_word, &from[1], n = splice(from[0], NULL, pair[0], NULL, 100, 0));
    EQUALS(n, 4, "splice to a socket waits for data");
    EQUALS(recv(pair[1], got, sizeof(got), 0), 4, "and sends it");
    struct draining draining = {pair[1], net_fill(pair[0]) + (long)sizeof(block)};
    MUST(write(from[1], block, sizeof(block)));
    struct later later;
    later_start(&later, drain_all, &draining);
    long moved = 0;
    while (moved < (long)sizeof(block) &&
           (n = splice(from[0], NULL, pair[0], NULL, sizeof(block), 0)) > 0)
        moved += n;
    later_join(&later);
    EQUALS(moved, sizeof(block), "splice to a full socket waits for room");
    WHILE(close_it, &pair[1], n = splice(pair[0], NULL, to[1], NULL, 100, 0));
    HOLDS(n == 0 || (n == -1 && errno == ECONNRESET), "the end of the socket");
    close(pair[0]);
    pipes_drop();
}

static void tee_and_vmsplice(void)
{
    char got[16];
    ssize_t n;
    struct iovec part = {block, 16};
    pipes_make();
    WHILE(write_word, &from[1], n = tee(from[0], to[1], 100, 0));
    EQUALS(n, 4, "tee waits for data");
    EQUALS(read(to[0], got, sizeof(got)), 4, "and copies it");
    EQUALS(read(from[0], got, sizeof(got)), 4, "it is still at its source");
    FAILS(tee(from[0], to[1], 100, SPLICE_F_NONBLOCK), EAGAIN, "SPLICE_F_NONBLOCK");
    FAILS(tee(from[0], from[1], 100, 0), EINVAL, "to itself");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = tee(from[0], to[1], 100, 0));
    FAILS(n, EINTR, "a signal interrupts it");
    EQUALS(vmsplice(to[1], &part, 1, 0), 16, "vmsplice");
    EQUALS(read(to[0], sink, 100), 16, "puts memory into a pipe");
    MUST(write(to[1], block, sizeof(block)));
    FAILS(vmsplice(to[1], &part, 1, SPLICE_F_NONBLOCK), EAGAIN, "a full pipe");
    WHILE(drain_some, &to[0], n = vmsplice(to[1], &part, 1, 0));
    EQUALS(n, 16, "vmsplice waits for room");
    EQUALS(read(to[0], sink, 100), 16, "and writes");
    KICKED(SIGUSR1, n = tee(from[0], to[1], 100, 0));
    FAILS(n, EINTR, "again");
    WHILE(close_it, &from[1], n = tee(from[0], to[1], 100, 0));
    EQUALS(n, 0, "tee at the end");
    close(from[0]);
    net_close(to);
}

static const struct check checks[] = {CHECK(between_pipes), CHECK(with_sockets),
                                      CHECK(tee_and_vmsplice)};

TICKING_MAIN(checks)
