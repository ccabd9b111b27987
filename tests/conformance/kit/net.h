/* Sockets for tests: on loopback, on ports that the kernel picks. */
#pragma once

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "expect.h"

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    };
    socklen_t length;
};

/* An address to bind to: loopback with port 0, or a fresh abstract AF_UNIX name. */
KIT_UNUSED static struct address net_any(int family)
{
    static atomic_int serial;
    struct address a;
    memset(&a, 0, sizeof(a));
    if (family == AF_INET) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.length = sizeof(a.v4);
    } else if (family == AF_INET6) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_addr = in6addr_loopback;
        a.length = sizeof(a.v6);
    } else {
        a.local.sun_family = AF_UNIX;
        int n = snprintf(a.local.sun_path + 1, sizeof(a.local.sun_path) - 1, "conformance-%d-%d",
                         (int)getpid(), atomic_fetch_add(&serial, 1));
        a.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    }
    return a;
}

KIT_UNUSED static struct address net_name(int fd)
{
    struct address a;
    memset(&a, 0, sizeof(a));
    a.length = sizeof(a.room);
    MUST(getsockname(fd, &a.any, &a.length));
    return a;
}

KIT_UNUSED static int net_bound(int family, int type)
{
    int fd = MUST(socket(family, type | SOCK_CLOEXEC, 0));
    struct address a = net_any(family);
    MUST(bind(fd, &a.any, a.length));
    return fd;
}

/* A listener; *where gets its address. */
KIT_UNUSED static int net_listen(int family, int type, int backlog, struct address *where)
{
    int fd = net_bound(family, type);
    MUST(listen(fd, backlog));
    *where = net_name(fd);
    return fd;
}

KIT_UNUSED static int net_connect(const struct address *where, int type)
{
    int fd = MUST(socket(where->any.sa_family, type | SOCK_CLOEXEC, 0));
    MUST(connect(fd, &where->any, where->length));
    return fd;
}

/* A connected pair of any family and type; datagram pairs are bound and connected both ways. */
KIT_UNUSED static void net_pair(int family, int type, int pair[2])
{
    struct address a, b;
    if (family == AF_UNIX) {
        MUST(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair));
    } else if (type == SOCK_DGRAM) {
        pair[0] = net_bound(family, type);
        pair[1] = net_bound(family, type);
        a = net_name(pair[0]);
        b = net_name(pair[1]);
        MUST(connect(pair[0], &b.any, b.length));
        MUST(connect(pair[1], &a.any, a.length));
    } else {
        int listener = net_listen(family, type, 1, &a);
        pair[0] = net_connect(&a, type);
        pair[1] = MUST(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        close(listener);
    }
}

KIT_UNUSED static void net_close(int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

/* SO_RCVTIMEO or SO_SNDTIMEO in milliseconds, 0 for none. */
KIT_UNUSED static void net_timeout(int fd, int option, int ms)
{
    struct timeval t = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    MUST(setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)));
}

KIT_UNUSED static int net_error(int fd)
{
    int error = -1;
    socklen_t length = sizeof(error);
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
    return error;
}

/* Whether the kernel may still find room by itself: TCP does until all that it sent has been
 * acknowledged and what it could not send lies in the buffer. */
static bool net_settled(int fd)
{
    int queued = 0, unsent = 0;
    struct address a = net_name(fd);
    if (a.any.sa_family == AF_UNIX)
        return true;
    MUST(ioctl(fd, SIOCOUTQ, &queued));
    MUST(ioctl(fd, SIOCOUTQNSD, &unsent));
    return queued == unsent && unsent > 0;
}

/* Fills the way from this socket to its peer until nothing more goes; returns the bytes. */
KIT_UNUSED static long net_fill(int fd)
{
    static const char block[4096] = {0};
    long total = 0;
    bool settled;
    do {
        settled = net_settled(fd);
        if (!settled && total > 0)
            sleep_ms(2);
        for (size_t size = sizeof(block); size > 0;) {
            ssize_t n = send(fd, block, size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0)
                total += n;
            else
                size /= 2;
            settled = settled && n <= 0;
        }
    } while (!settled);
    return total;
}

/* Small buffers, so that little data fills the way (TCP: below 1 MiB; AF_UNIX: some packets of
 * any size below 2 KiB). Smaller ones would make TCP on loopback, whose segments are 64 KiB, wait
 * for its timers. Call before data flows. */
KIT_UNUSED static void net_small_buffers(int pair[2])
{
    struct address a = net_name(pair[0]);
    int size = a.any.sa_family == AF_UNIX ? 4096 : 128 * 1024;
    for (int i = 0; i < 2; i++) {
        MUST(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
        MUST(setsockopt(pair[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
    }
}

/* Reads length bytes and drops them, as a peer that makes room. */
KIT_UNUSED static void net_drain(int fd, long length)
{
    char sink[4096];
    while (length > 0) {
        ssize_t n = recv(fd, sink, sizeof(sink) < (size_t)length ? sizeof(sink) : (size_t)length,
                         0);
        if (n <= 0)
            return;
        length -= n;
    }
}
