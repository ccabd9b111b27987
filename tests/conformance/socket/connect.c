/* connect: success and each error, blocking and not, on TCP, UDP and AF_UNIX. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static void check_tcp(int family)
{
    struct address where, own, peer;
    int type;
    socklen_t size = sizeof(type);
    int listener = net_listen(family, SOCK_STREAM, 8, &where);
    int fd = MUST(socket(family, SOCK_STREAM, 0));
    EQUALS(connect(fd, &where.any, where.length), 0, "connect to a listener");
    peer.length = sizeof(peer.room);
    EQUALS(getpeername(fd, &peer.any, &peer.length), 0, "has a peer");
    HOLDS(peer.length == where.length && memcmp(&peer, &where, where.length) == 0,
          "which is the listener's address");
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "leaves O_NONBLOCK off");
    FAILS(connect(fd, &where.any, where.length), EISCONN, "connect again");
    int accepted = MUST(accept(listener, NULL, NULL));
    own = net_name(fd);
    peer.length = sizeof(peer.room);
    MUST(getpeername(accepted, &peer.any, &peer.length));
    HOLDS(memcmp(&peer, &own, own.length) == 0, "the other end sees this address");
    close(accepted);
    close(fd);

    fd = MUST(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    FAILS(connect(fd, &where.any, where.length), EINPROGRESS, "non-blocking connect");
    struct pollfd wait = {fd, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 4000), 1, "poll tells");
    EQUALS(wait.revents, POLLOUT, "POLLOUT alone");
    EQUALS(net_error(fd), 0, "SO_ERROR is 0");
    EQUALS(connect(fd, &where.any, where.length), 0, "connect once more tells of success");
    FAILS(connect(fd, &where.any, where.length), EISCONN, "and then EISCONN");
    HOLDS(fcntl(fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK stays on");
    EQUALS(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0, "SO_TYPE");
    EQUALS(type, SOCK_STREAM, "is as made");
    close(fd);
    close(listener);

    fd = MUST(socket(family, SOCK_STREAM, 0));
    FAILS(connect(fd, &where.any, where.length), ECONNREFUSED, "nobody listens");
    EQUALS(net_error(fd), 0, "SO_ERROR is not set as well");
    close(fd);
    fd = MUST(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    FAILS(connect(fd, &where.any, where.length), EINPROGRESS,
                "nobody listens, non-blocking");
    wait = (struct pollfd){fd, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 4000), 1, "poll tells");
    EQUALS(wait.revents, POLLOUT | POLLERR | POLLHUP, "POLLOUT, POLLERR and POLLHUP");
    EQUALS(net_error(fd), ECONNREFUSED, "SO_ERROR is ECONNREFUSED");
    EQUALS(net_error(fd), 0, "once");
    close(fd);
}

static void errors(void)
{
    struct address where;
    int listener = net_listen(AF_INET, SOCK_STREAM, 8, &where);
    FAILS(connect(-1, &where.any, where.length), EBADF, "descriptor -1");
    FAILS(connect(12345, &where.any, where.length), EBADF, "a closed descriptor");
    int pipes[2];
    MUST(pipe(pipes));
    FAILS(connect(pipes[0], &where.any, where.length), ENOTSOCK, "a pipe");
    close(pipes[0]);
    close(pipes[1]);
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    FAILS(connect(fd, bad_pointer, where.length), EFAULT, "a bad address");
    FAILS(connect(fd, &where.any, 3), EINVAL, "a short address");
    FAILS(connect(fd, &where.any, (socklen_t)-1), EINVAL, "a negative length");
    where.any.sa_family = AF_APPLETALK;
    FAILS(connect(fd, &where.any, where.length), EAFNOSUPPORT, "another family");
    where.any.sa_family = AF_INET;
    FAILS(connect(listener, &where.any, where.length), EISCONN, "a listener");
    EQUALS(connect(fd, &where.any, where.length), 0, "the socket still connects");
    close(fd);
    close(listener);

    fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    int peer = net_bound(AF_INET, SOCK_DGRAM);
    where = net_name(peer);
    FAILS(send(fd, "x", 1, 0), EDESTADDRREQ, "UDP without a peer");
    EQUALS(connect(fd, &where.any, where.length), 0, "UDP connect");
    EQUALS(send(fd, "x", 1, 0), 1, "sends");
    EQUALS(connect(fd, &where.any, where.length), 0, "UDP connect again");
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    EQUALS(connect(fd, &none, sizeof(none)), 0, "UDP disconnect");
    FAILS(send(fd, "x", 1, 0), EDESTADDRREQ, "has no peer any more");
    close(fd);
    close(peer);
}

static void local(void)
{
    struct address where;
    for (int i = 0; i < 2; i++) {
        int type = i == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
        int listener = net_listen(AF_UNIX, type, 8, &where);
        int fd = MUST(socket(AF_UNIX, type, 0));
        EQUALS(connect(fd, &where.any, where.length), 0, "connect to a listener");
        FAILS(connect(fd, &where.any, where.length), EISCONN, "connect again");
        HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "leaves O_NONBLOCK off");
        close(fd);
        fd = MUST(socket(AF_UNIX, type | SOCK_NONBLOCK, 0));
        EQUALS(connect(fd, &where.any, where.length), 0, "non-blocking connect");
        HOLDS(fcntl(fd, F_GETFL) & O_NONBLOCK, "leaves O_NONBLOCK on");
        close(fd);
        fd = MUST(socket(AF_UNIX, i == 0 ? SOCK_SEQPACKET : SOCK_STREAM, 0));
        FAILS(connect(fd, &where.any, where.length), ECONNREFUSED,
                    "an abstract name of another type");
        close(fd);
        close(listener);
        fd = MUST(socket(AF_UNIX, type, 0));
        FAILS(connect(fd, &where.any, where.length), ECONNREFUSED, "an abstract name gone");
        close(fd);
    }
    char directory[] = "/tmp/conformance-XXXXXX";
    MUST_BE(mkdtemp(directory) != NULL);
    memset(&where, 0, sizeof(where));
    where.local.sun_family = AF_UNIX;
    snprintf(where.local.sun_path, sizeof(where.local.sun_path), "%s/s", directory);
    where.length = sizeof(where.local);
    int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(connect(fd, &where.any, where.length), ENOENT, "no such path");
    int bound = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(bound, &where.any, where.length));
    FAILS(connect(fd, &where.any, where.length), ECONNREFUSED, "bound, not listening");
    MUST(listen(bound, 1));
    EQUALS(connect(fd, &where.any, where.length), 0, "listening");
    close(fd);
    fd = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    FAILS(connect(fd, &where.any, where.length), EPROTOTYPE, "another type");
    close(bound);
    close(fd);
    fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(connect(fd, &where.any, where.length), ECONNREFUSED, "a socket file left over");
    close(fd);
    unlink(where.local.sun_path);
    rmdir(directory);
}

static void tcp4(void)
{
    check_tcp(AF_INET);
}

static void tcp6(void)
{
    check_tcp(AF_INET6);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(errors), CHECK(local),
};

TICKING_MAIN(checks)
