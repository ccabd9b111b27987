/* UDP between threads: who sent it, connected and not, sizes, broadcast loops of many senders. */
#include "kit/net.h"
#include "kit/threads.h"

struct talk {
    int fd;
    struct address to;
};

static void send_to(void *arg)
{
    struct talk *talk = arg;
    MUST(sendto(talk->fd, "hello", 5, 0, &talk->to.any, talk->to.length));
}

static void check_family(int family)
{
    char got[2048];
    ssize_t n;
    int a = net_bound(family, SOCK_DGRAM), b = net_bound(family, SOCK_DGRAM);
    int c = net_bound(family, SOCK_DGRAM);
    struct address from, name_a = net_name(a), name_b = net_name(b);
    struct talk talk = {b, name_a};
    from.length = sizeof(from.room);
    WHILE(send_to, &talk, n = recvfrom(a, got, sizeof(got), 0, &from.any, &from.length));
    EQUALS(n, 5, "recvfrom waits for a datagram");
    HOLDS(from.length == name_b.length && memcmp(&from, &name_b, name_b.length) == 0,
          "and tells whose it is");
    from.length = 2;
    send_to(&talk);
    EQUALS(recvfrom(a, got, sizeof(got), 0, &from.any, &from.length), 5, "room for 2 bytes of it");
    EQUALS(from.length, name_b.length, "the whole length is told");
    struct iovec part = {got, sizeof(got)};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof(from.room)};
    WHILE(send_to, &talk, n = recvmsg(a, &header, 0));
    EQUALS(n, 5, "recvmsg waits for a datagram");
    HOLDS(header.msg_namelen == name_b.length && memcmp(&from, &name_b, name_b.length) == 0,
          "and tells whose it is");

    /* Connected: a stranger's datagrams do not come. */
    MUST(connect(a, &name_b.any, name_b.length));
    struct talk stranger = {c, name_a};
    send_to(&stranger);
    FAILS(recv(a, got, sizeof(got), MSG_DONTWAIT), EAGAIN, "a stranger is not heard");
    WHILE(send_to, &talk, n = recv(a, got, sizeof(got), 0));
    EQUALS(n, 5, "the peer is");
    EQUALS(send(a, "back", 4, 0), 4, "send goes to the peer");
    EQUALS(recv(b, got, sizeof(got), 0), 4, "who gets it");

    static char big[70000];
    FAILS(sendto(b, big, sizeof(big), 0, &name_a.any, name_a.length), EMSGSIZE, "too long");
    EQUALS(sendto(b, big, 60000, 0, &name_a.any, name_a.length), 60000, "60,000 bytes go");
    EQUALS(recv(a, big, sizeof(big), 0), 60000, "and come");
    FAILS(sendto(b, "x", 1, 0, bad_pointer, name_a.length), EFAULT, "a bad address");
    FAILS(sendto(b, "x", 1, 0, &name_a.any, 3), EINVAL, "a short address");
    FAILS(sendto(b, "x", 1, 0, NULL, 0), EDESTADDRREQ, "no address");
    close(a);
    close(b);
    close(c);
}

static void udp4(void)
{
    check_family(AF_INET);
}

static void udp6(void)
{
    check_family(AF_INET6);
}

/* Several clients ask one server thread and wait for their answers. */
enum { clients = 8, rounds = 50 };

static struct address service;

static void *serve(void *arg)
{
    int fd = *(int *)arg;
    for (;;) {
        char line[64];
        struct address from = {.length = sizeof(from.room)};
        ssize_t n = recvfrom(fd, line, sizeof(line), 0, &from.any, &from.length);
        if (n <= 0)
            return NULL;
        sendto(fd, line, (size_t)n, 0, &from.any, from.length);
    }
}

static void *ask(void *arg)
{
    long right = 0;
    int fd = net_bound(AF_INET, SOCK_DGRAM);
    for (int i = 0; i < rounds; i++) {
        char line[64], got[64];
        int n = snprintf(line, sizeof(line), "client %ld asks %d", (long)arg, i);
        MUST(sendto(fd, line, (size_t)n, 0, &service.any, service.length));
        if (recv(fd, got, sizeof(got), 0) == n && memcmp(line, got, (size_t)n) == 0)
            right++;
    }
    close(fd);
    return (void *)right;
}

static void many_clients(void)
{
    pthread_t threads[clients];
    long right = 0;
    int fd = net_bound(AF_INET, SOCK_DGRAM);
    service = net_name(fd);
    pthread_t server = start(serve, &fd);
    for (long i = 0; i < clients; i++)
        threads[i] = start(ask, (void *)i);
    for (int i = 0; i < clients; i++)
        right += (long)finish(threads[i]);
    EQUALS(right, clients * rounds, "every answer came");
    MUST(sendto(fd, "", 0, 0, &service.any, service.length));
    finish(server);
    close(fd);
}

static const struct check checks[] = {CHECK(udp4), CHECK(udp6), CHECK(many_clients)};

TICKING_MAIN(checks)
