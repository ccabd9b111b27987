/* AF_UNIX datagrams: sending to a peer whose queue is full waits, though poll never says so; the
 * peer's reading, closing, a time-out or a signal ends the wait. */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static struct address where;

static void read_one(void *arg)
{
    char got[16];
    MUST(recv(*(int *)arg, got, sizeof(got), 0));
}

static void close_it(void *arg)
{
    close(*(int *)arg);
}

/* The queue of an unconnected receiver, filled by a sender that names it each time. */
static int fill(int sender)
{
    int count = 0;
    while (sendto(sender, "x", 1, MSG_DONTWAIT, &where.any, where.length) == 1)
        count++;
    return count;
}

static void unconnected(void)
{
    int receiver = net_bound(AF_UNIX, SOCK_DGRAM), sender = net_bound(AF_UNIX, SOCK_DGRAM);
    ssize_t n;
    where = net_name(receiver);
    int count = fill(sender);
    HOLDS(count > 1, "some fit");
    FAILS(sendto(sender, "x", 1, MSG_DONTWAIT, &where.any, where.length), EAGAIN, "then no more");
    struct pollfd wait = {sender, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 0), 1, "poll would say that there is room");
    WHILE(read_one, &receiver, n = sendto(sender, "x", 1, 0, &where.any, where.length));
    EQUALS(n, 1, "sendto waits until the receiver reads");
    struct iovec part = {"y", 1};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_name = &where, .msg_namelen = where.length};
    WHILE(read_one, &receiver, n = sendmsg(sender, &header, 0));
    EQUALS(n, 1, "sendmsg too");
    struct mmsghdr headers = {.msg_hdr = header};
    WHILE(read_one, &receiver, n = sendmmsg(sender, &headers, 1, 0));
    EQUALS(n, 1, "sendmmsg too");
    HOLDS(!(fcntl(sender, F_GETFL) & O_NONBLOCK), "O_NONBLOCK is off");

    net_timeout(sender, SO_SNDTIMEO, 40);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(sendto(sender, "x", 1, 0, &where.any, where.length), EAGAIN, "SO_SNDTIMEO ends it");
    LASTED_TICKS(began, 40, "after its time");
    OTHERS_RAN(ticks, sendto(sender, "x", 1, 0, &where.any, where.length));
    net_timeout(sender, SO_SNDTIMEO, 0);
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = sendto(sender, "x", 1, 0, &where.any, where.length));
    FAILS(n, EINTR, "a signal ends it");
    MUST(fcntl(sender, F_SETFL, O_NONBLOCK));
    FAILS(sendto(sender, "x", 1, 0, &where.any, where.length), EAGAIN, "O_NONBLOCK");
    MUST(fcntl(sender, F_SETFL, 0));
    WHILE(close_it, &receiver, n = sendto(sender, "x", 1, 0, &where.any, where.length));
    FAILS(n, ECONNREFUSED, "the receiver closes");
    close(sender);
}

/* Connected one way: here poll knows. */
static void connected(void)
{
    int receiver = net_bound(AF_UNIX, SOCK_DGRAM), sender = net_bound(AF_UNIX, SOCK_DGRAM), ready;
    ssize_t n;
    where = net_name(receiver);
    MUST(connect(sender, &where.any, where.length));
    while (send(sender, "x", 1, MSG_DONTWAIT) == 1)
        continue;
    FAILS(send(sender, "x", 1, MSG_DONTWAIT), EAGAIN, "full");
    struct pollfd wait = {sender, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 0), 0, "poll says so for a connected peer");
    WHILE(read_one, &receiver, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "and tells of room");
    MUST(send(sender, "x", 1, 0));
    WHILE(read_one, &receiver, n = send(sender, "x", 1, 0));
    EQUALS(n, 1, "send waits");
    WHILE(read_one, &receiver, n = write(sender, "x", 1));
    EQUALS(n, 1, "write waits");
    WHILE(close_it, &receiver, n = send(sender, "x", 1, MSG_NOSIGNAL));
    FAILS(n, ECONNREFUSED, "the receiver closes");
    close(sender);
}

/* Connected both ways there is no bound but the sender's buffer. */
static void paired(void)
{
    int pair[2];
    ssize_t n;
    net_pair(AF_UNIX, SOCK_DGRAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    FAILS(send(pair[0], "x", 1, MSG_DONTWAIT), EAGAIN, "full");
    WHILE(read_one, &pair[1], n = send(pair[0], "x", 1, 0));
    EQUALS(n, 1, "send waits");
    net_fill(pair[0]);
    /* What the peer had queued is dropped, and the message may find room there first. */
    WHILE(close_it, &pair[1], n = send(pair[0], "x", 1, MSG_NOSIGNAL));
    HOLDS(n == 1 || errno == ECONNREFUSED || errno == EPIPE, "the peer closes");
    n = send(pair[0], "x", 1, MSG_NOSIGNAL);
    HOLDS(n == -1 && (errno == ECONNREFUSED || errno == ENOTCONN), "and is gone");
    close(pair[0]);
}

/* Several senders against one full receiver: all get through as it reads. */
enum { senders = 6, each = 20 };

static void *send_each(void *unused)
{
    (void)unused;
    int fd = net_bound(AF_UNIX, SOCK_DGRAM);
    long sent = 0;
    for (int i = 0; i < each; i++)
        sent += sendto(fd, "s", 1, 0, &where.any, where.length) == 1;
    close(fd);
    return (void *)sent;
}

static void several_senders(void)
{
    pthread_t threads[senders];
    long sent = 0, got = 0;
    int receiver = net_bound(AF_UNIX, SOCK_DGRAM), filler = net_bound(AF_UNIX, SOCK_DGRAM);
    where = net_name(receiver);
    int filled = fill(filler);
    for (int i = 0; i < senders; i++)
        threads[i] = start(send_each, NULL);
    ticker_wait(10);
    for (int i = 0; i < filled + senders * each; i++) {
        char c;
        got += recv(receiver, &c, 1, 0) == 1 && c == (i < filled ? 'x' : 's');
    }
    for (int i = 0; i < senders; i++)
        sent += (long)finish(threads[i]);
    EQUALS(sent, senders * each, "every datagram was sent");
    EQUALS(got, filled + senders * each, "and received, in order");
    close(receiver);
    close(filler);
}

static const struct check checks[] = {CHECK(unconnected), CHECK(connected), CHECK(paired),
                                      CHECK(several_senders)};

TICKING_MAIN(checks)
