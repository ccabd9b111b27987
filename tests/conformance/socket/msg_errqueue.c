/* MSG_ERRQUEUE: the errors of UDP with IP_RECVERR. It never waits; poll tells by POLLERR alone,
 * and a blocked receive ends with the error. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

#include <linux/errqueue.h>

static struct address gone;

static void send_there(void *arg)
{
    MUST(send(*(int *)arg, "lost", 4, 0));
}

/* A connected UDP socket whose peer's port nobody holds. */
static int to_nobody(int family)
{
    int peer = net_bound(family, SOCK_DGRAM);
    gone = net_name(peer);
    close(peer);
    int fd = net_bound(family, SOCK_DGRAM);
    MUST(connect(fd, &gone.any, gone.length));
    return fd;
}

static void refused(void)
{
    char got[16];
    ssize_t n;
    int fd = to_nobody(AF_INET);
    WHILE(send_there, &fd, n = recv(fd, got, sizeof(got), 0));
    FAILS(n, ECONNREFUSED, "a blocked receive is told that nobody is there");
    send_there(&fd);
    FAILS(send(fd, "x", 1, 0), ECONNREFUSED, "and so is the next send");
    EQUALS(send(fd, "x", 1, 0), 1, "once");
    EQUALS(net_error(fd), ECONNREFUSED, "SO_ERROR tells it too");
    close(fd);
}

static void check_queue(int family)
{
    int on = 1, level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    int option = family == AF_INET ? IP_RECVERR : IPV6_RECVERR, ready;
    char got[16] = "", control[256];
    int fd = to_nobody(family);
    MUST(setsockopt(fd, level, option, &on, sizeof(on)));
    FAILS(recv(fd, got, sizeof(got), MSG_ERRQUEUE), EAGAIN, "an empty queue does not wait");
    struct pollfd wait = {fd, 0, 0};
    WHILE(send_there, &fd, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll for nothing is woken by the error");
    EQUALS(wait.revents, POLLERR, "POLLERR alone");
    struct iovec part = {got, sizeof(got)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    EQUALS(recvmsg(fd, &header, MSG_ERRQUEUE), 4, "the packet that was lost");
    BYTES(got, "lost", 4, "as it was sent");
    EQUALS(header.msg_flags & MSG_ERRQUEUE, MSG_ERRQUEUE, "flagged");
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (HOLDS(c != NULL && c->cmsg_level == level && c->cmsg_type == option, "with its error")) {
        struct sock_extended_err error;
        memcpy(&error, CMSG_DATA(c), sizeof(error));
        EQUALS(error.ee_errno, ECONNREFUSED, "ECONNREFUSED");
    }
    FAILS(recv(fd, got, sizeof(got), MSG_ERRQUEUE), EAGAIN, "the queue is empty again");
    close(fd);
}

static void queue4(void)
{
    check_queue(AF_INET);
}

static void queue6(void)
{
    check_queue(AF_INET6);
}

static const struct check checks[] = {CHECK(refused), CHECK(queue4), CHECK(queue6)};

TICKING_MAIN(checks)
