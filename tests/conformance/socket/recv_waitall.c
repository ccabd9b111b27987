/* MSG_WAITALL: waits for the whole length, and gives less only for end of file, a time-out, a
 * signal or an error. */
#include "kit/net.h"
#include "kit/threads.h"

static void send_in_pieces(void *arg)
{
    int fd = *(int *)arg;
    for (int i = 0; i < 10; i++) {
        char piece[10];
        memset(piece, 'a' + i, sizeof(piece));
        MUST(send(fd, piece, sizeof(piece), 0));
        ticker_wait(2);
    }
}

static void send_part_and_end(void *arg)
{
    int fd = *(int *)arg;
    MUST(send(fd, "part", 4, 0));
    ticker_wait(5);
    MUST(shutdown(fd, SHUT_WR));
}

static void end_only(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

struct poke {
    pthread_t target;
    int fd, receiver;
};

/* The part has been taken before the signal comes. */
static void send_part_and_signal(void *arg)
{
    struct poke *poke = arg;
    int left = 1, under_way = 1;
    MUST(send(poke->fd, "part", 4, 0));
    for (int i = 0; i < 4000 && (under_way > 0 || left > 0); i++) {
        sleep_ms(1);
        MUST(ioctl(poke->fd, SIOCOUTQ, &under_way));
        MUST(ioctl(poke->receiver, FIONREAD, &left));
    }
    ticker_wait(5);
    pthread_kill(poke->target, SIGUSR1);
}

static void signal_and_send(void *arg)
{
    struct poke *poke = arg;
    pthread_kill(poke->target, SIGUSR1);
    for (int i = 0; i < 4000 && signal_count == 0; i++)
        sleep_ms(1);
    send_in_pieces(&poke->fd);
}

static void reset(void *arg)
{
    struct poke *poke = arg;
    struct linger hard = {1, 0};
    MUST(send(poke->fd, "part", 4, 0));
    ticker_wait(5);
    MUST(setsockopt(poke->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(poke->fd);
}

static void check_kind(int family, int type)
{
    int pair[2];
    char got[128];
    ssize_t n;
    net_pair(family, type, pair);
    struct poke poke = {pthread_self(), pair[1], pair[0]};
    WHILE(send_in_pieces, &pair[1], n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 100, "recv gets ten pieces as one");
    HOLDS(got[0] == 'a' && got[55] == 'f' && got[99] == 'j', "in order");
    struct iovec parts[2] = {{got, 33}, {got + 33, 67}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    memset(got, 0, sizeof(got));
    WHILE(send_in_pieces, &pair[1], n = recvmsg(pair[0], &header, MSG_WAITALL));
    EQUALS(n, 100, "recvmsg gets ten pieces as one");
    HOLDS(got[0] == 'a' && got[55] == 'f' && got[99] == 'j', "in order");
    WHILE(send_in_pieces, &pair[1], n = recvfrom(pair[0], got, 100, MSG_WAITALL, NULL, NULL));
    EQUALS(n, 100, "recvfrom gets ten pieces as one");

    MUST(send(pair[1], "part", 4, 0));
    n = recv(pair[0], got, 100, MSG_WAITALL | MSG_DONTWAIT);
    EQUALS(n, 4, "with MSG_DONTWAIT it does not wait for the rest");
    MUST(send(pair[1], "part", 4, 0));
    net_timeout(pair[0], SO_RCVTIMEO, 60);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    n = recv(pair[0], got, 100, MSG_WAITALL);
    EQUALS(n, 4, "SO_RCVTIMEO ends it with what is there");
    LASTED_TICKS(began, 60, "after its time");
    OTHERS_RAN(ticks, recv(pair[0], got, 100, MSG_WAITALL));
    FAILS(recv(pair[0], got, 100, MSG_WAITALL), EAGAIN, "and with nothing says EAGAIN");
    net_timeout(pair[0], SO_RCVTIMEO, 0);

    signal_catch(SIGUSR1, 0);
    signal_count = 0;
    WHILE(send_part_and_signal, &poke, n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 4, "a signal ends it with what is there");
    EQUALS(signal_count, 1, "the handler ran once");
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    WHILE(send_part_and_signal, &poke, n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 4, "with SA_RESTART as well");
    EQUALS(signal_count, 1, "the handler ran once");
    signal_count = 0;
    WHILE(signal_and_send, &poke, n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 100, "SA_RESTART with nothing there yet goes on");
    EQUALS(signal_count, 1, "the handler ran once");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = recv(pair[0], got, 100, MSG_WAITALL));
    FAILS(n, EINTR, "a signal with nothing there");

    WHILE(send_part_and_end, &pair[1], n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 4, "end of file ends it with what is there");
    EQUALS(recv(pair[0], got, 100, MSG_WAITALL), 0, "and then gives 0");
    net_close(pair);
    net_pair(family, type, pair);
    WHILE(end_only, &pair[1], n = recv(pair[0], got, 100, MSG_WAITALL));
    EQUALS(n, 0, "end of file with nothing there");
    net_close(pair);

    if (family != AF_UNIX) {
        net_pair(family, type, pair);
        poke.fd = pair[1];
        WHILE(reset, &poke, n = recv(pair[0], got, 100, MSG_WAITALL));
        EQUALS(n, 4, "a reset ends it with what is there");
        FAILS(recv(pair[0], got, 100, MSG_WAITALL), ECONNRESET, "and then is told");
        close(pair[0]);
    }
}

static void tcp4(void)
{
    check_kind(AF_INET, SOCK_STREAM);
}

static void tcp6(void)
{
    check_kind(AF_INET6, SOCK_STREAM);
}

static void local(void)
{
    check_kind(AF_UNIX, SOCK_STREAM);
}

static const struct check checks[] = {
    CHECK(tcp4), CHECK(tcp6), CHECK(local),
};

TICKING_MAIN(checks)
