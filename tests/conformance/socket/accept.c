/* accept and accept4: flags, addresses, errors, waiting, time-out, signals. */
#include "kit/net.h"
#include "kit/threads.h"

static struct address where;

static void connect_here(void *arg)
{
    *(int *)arg = net_connect(&where, SOCK_STREAM);
}

static void interrupt_then_connect(void *arg)
{
    pthread_t target = *(pthread_t *)arg;
    for (int i = 0; i < 3; i++) {
        pthread_kill(target, SIGUSR1);
        ticker_wait(5);
    }
    int fd = net_connect(&where, SOCK_STREAM);
    close(fd);
}

static void check_family(int family)
{
    int fd, client = -1;
    struct address peer, own;
    int listener = net_listen(family, SOCK_STREAM, 8, &where);
    peer.length = sizeof(peer.room);
    WHILE(connect_here, &client, fd = accept(listener, &peer.any, &peer.length));
    HOLDS(fd >= 0, "accept waits for a connection");
    own = net_name(client);
    if (family != AF_UNIX)
        HOLDS(peer.length == own.length && memcmp(&peer, &own, own.length) == 0,
              "and tells whose");
    else
        EQUALS(peer.length, sizeof(sa_family_t), "which has no name");
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "O_NONBLOCK is off");
    HOLDS(!(fcntl(fd, F_GETFD) & FD_CLOEXEC), "FD_CLOEXEC is off");
    HOLDS(!(fcntl(listener, F_GETFL) & O_NONBLOCK), "and off at the listener");
    close(client);
    close(fd);

    WHILE(connect_here, &client,
          fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    HOLDS(fd >= 0, "accept4 waits for a connection");
    HOLDS(fcntl(fd, F_GETFL) & O_NONBLOCK, "SOCK_NONBLOCK");
    HOLDS(fcntl(fd, F_GETFD) & FD_CLOEXEC, "SOCK_CLOEXEC");
    close(client);
    close(fd);

    WHILE(connect_here, &client, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "accept4 with SOCK_CLOEXEC alone");
    HOLDS(fcntl(fd, F_GETFD) & FD_CLOEXEC, "SOCK_CLOEXEC");
    close(client);
    close(fd);

    peer.length = 3;
    memset(&peer.room, 0x55, sizeof(peer.room));
    connect_here(&client);
    fd = accept(listener, &peer.any, &peer.length);
    HOLDS(fd >= 0, "room for 3 bytes of the address");
    EQUALS(peer.length, family == AF_UNIX ? sizeof(sa_family_t) : own.length,
              "the length is the whole one");
    HOLDS(((char *)&peer)[3] == 0x55, "nothing is written past it");
    close(client);
    close(fd);

    MUST(fcntl(listener, F_SETFL, O_NONBLOCK));
    FAILS(accept(listener, NULL, NULL), EAGAIN, "non-blocking listener");
    connect_here(&client);
    fd = accept(listener, NULL, NULL);
    HOLDS(fd >= 0, "with a connection");
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "does not hand on O_NONBLOCK");
    HOLDS(fcntl(listener, F_GETFL) & O_NONBLOCK, "keeps it itself");
    close(client);
    close(fd);
    MUST(fcntl(listener, F_SETFL, 0));

    net_timeout(listener, SO_RCVTIMEO, 50);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(accept(listener, NULL, NULL), EAGAIN, "SO_RCVTIMEO ends accept");
    LASTED_TICKS(began, 50, "after its time");
    OTHERS_RAN(ticks, accept(listener, NULL, NULL));
    net_timeout(listener, SO_RCVTIMEO, 0);

    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, fd = accept(listener, NULL, NULL));
    FAILS(fd, EINTR, "a signal interrupts it");
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    pthread_t self = pthread_self();
    WHILE(interrupt_then_connect, &self, fd = accept(listener, NULL, NULL));
    HOLDS(fd >= 0, "SA_RESTART goes on with it");
    HOLDS(signal_count >= 1, "the handler ran");
    close(fd);
    close(listener);
}

static void errors(void)
{
    int listener = net_listen(AF_INET, SOCK_STREAM, 8, &where), client = -1;
    FAILS(accept4(listener, NULL, NULL, 0x10), EINVAL, "an unknown flag");
    FAILS(accept(-1, NULL, NULL), EBADF, "descriptor -1");
    FAILS(accept(12345, NULL, NULL), EBADF, "a closed descriptor");
    FAILS(accept(STDOUT_FILENO, NULL, NULL), ENOTSOCK, "no socket");
    int fd = net_bound(AF_INET, SOCK_STREAM);
    FAILS(accept(fd, NULL, NULL), EINVAL, "not listening");
    close(fd);
    fd = net_bound(AF_INET, SOCK_DGRAM);
    FAILS(accept(fd, NULL, NULL), EOPNOTSUPP, "a datagram socket");
    close(fd);
    fd = net_bound(AF_UNIX, SOCK_STREAM);
    FAILS(accept(fd, NULL, NULL), EINVAL, "AF_UNIX, not listening");
    close(fd);

    socklen_t length = sizeof(struct sockaddr_in);
    connect_here(&client);
    FAILS(accept(listener, bad_pointer, &length), EFAULT, "a bad address");
    close(client);
    connect_here(&client);
    length = (socklen_t)-1;
    struct address peer;
    FAILS(accept(listener, &peer.any, &length), EINVAL, "a negative length");
    close(client);

    /* Linux hands out a connection that was reset before the accept; the reset comes after. */
    connect_here(&client);
    struct linger hard = {1, 0};
    MUST(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(client);
    fd = accept(listener, NULL, NULL);
    HOLDS(fd >= 0, "a connection reset before the accept");
    char c;
    FAILS(recv(fd, &c, 1, 0), ECONNRESET, "is told so later");
    close(fd);
    connect_here(&client);
    MUST(send(client, "bye", 3, 0));
    close(client);
    fd = accept(listener, NULL, NULL);
    HOLDS(fd >= 0, "a connection closed before the accept");
    char got[8];
    EQUALS(recv(fd, got, sizeof(got), MSG_WAITALL), 3, "has its data");
    EQUALS(recv(fd, got, sizeof(got), 0), 0, "and its end");
    close(fd);
    close(listener);
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
    CHECK(tcp4), CHECK(tcp6), CHECK(local), CHECK(errors),
};

TICKING_MAIN(checks)
