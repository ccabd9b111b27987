/* A listener shut down or closed under a blocked acceptor. shutdown ends the accept with EINVAL.
 * close alone does not: the call holds the listener, which goes on taking connections. */
#include "kit/net.h"
#include "kit/threads.h"

static struct address where;
static int listener;
static struct sleeper sleeper;

static void shut(void *arg)
{
    MUST(shutdown(listener, *(int *)arg));
}

static void *acceptor(void *unused)
{
    (void)unused;
    sleeper_here(&sleeper);
    int fd = accept(listener, NULL, NULL);
    return (void *)(long)(fd < 0 ? -errno : fd);
}

static void check_family(int family)
{
    int result;
    for (int how = SHUT_RD; how <= SHUT_RDWR; how += SHUT_RDWR) {
        listener = net_listen(family, SOCK_STREAM, 8, &where);
        WHILE(shut, &how, result = accept(listener, NULL, NULL));
        FAILS(result, EINVAL, how == SHUT_RD ? "shutdown for reading ends accept"
                                                   : "shutdown both ways ends accept");
        close(listener);
    }

    listener = net_listen(family, SOCK_STREAM, 8, &where);
    sleeper.tid = 0;
    pthread_t thread = start(acceptor, NULL);
    sleeper_settle(&sleeper);
    EQUALS(close(listener), 0, "close under a blocked acceptor");
    FAILS(fcntl(listener, F_GETFL), EBADF, "takes the descriptor away");
    ticker_wait(20);
    int client = MUST(socket(family, SOCK_STREAM, 0));
    EQUALS(connect(client, &where.any, where.length), 0, "the listener still listens");
    long fd = (long)finish(thread);
    if (HOLDS(fd >= 0, "the acceptor gets that connection")) {
        char c = 0;
        MUST(send(client, "x", 1, 0));
        EQUALS(recv((int)fd, &c, 1, 0), 1, "which works");
        close((int)fd);
    }
    close(client);
    client = MUST(socket(family, SOCK_STREAM, 0));
    FAILS(connect(client, &where.any, where.length), ECONNREFUSED,
                "and after it nobody listens");
    close(client);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void tcp6(void)
{
    check_family(AF_INET6);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(local),
};

TICKING_MAIN(checks)
