/* recvmmsg and sendmmsg: waiting, MSG_WAITFORONE, time-out, and results that are partial. */
#include "kit/net.h"
#include "kit/threads.h"

enum { most = 8 };

static struct mmsghdr headers[most];
static struct iovec parts[most];
static char room[most][32];

static void prepare(void)
{
    memset(room, 0, sizeof(room));
    for (int i = 0; i < most; i++) {
        parts[i] = (struct iovec){room[i], sizeof(room[i])};
        headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
}

static void send_number(int fd, int number)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "packet %d", number);
    MUST(send(fd, text, (size_t)n, 0));
}

static void send_four_slowly(void *arg)
{
    for (int i = 0; i < 4; i++) {
        send_number(*(int *)arg, i);
        ticker_wait(5);
    }
}

static void send_three(void *arg)
{
    for (int i = 0; i < 3; i++)
        send_number(*(int *)arg, i);
}

static void send_two_and_end(void *arg)
{
    send_number(*(int *)arg, 0);
    ticker_wait(5);
    send_number(*(int *)arg, 1);
    ticker_wait(5);
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

struct poke {
    pthread_t target;
    int fd;
};

static void send_one_and_signal(void *arg)
{
    struct poke *poke = arg;
    send_number(poke->fd, 0);
    ticker_wait(20);
    pthread_kill(poke->target, SIGUSR1);
}

static void check_received(int count)
{
    for (int i = 0; i < count; i++) {
        char want[16];
        int n = snprintf(want, sizeof(want), "packet %d", i);
        EQUALS(headers[i].msg_len, n, "its length");
        BYTES(room[i], want, (size_t)n, "its text");
    }
}

static void check_kind(int family, int type)
{
    int pair[2], n;
    net_pair(family, type, pair);
    prepare();
    WHILE(send_four_slowly, &pair[1], n = recvmmsg(pair[0], headers, 4, 0, NULL));
    EQUALS(n, 4, "without flags it waits for as many as asked for");
    check_received(4);

    prepare();
    WHILE(send_three, &pair[1], n = recvmmsg(pair[0], headers, most, MSG_WAITFORONE, NULL));
    HOLDS(n >= 1 && n <= 3, "MSG_WAITFORONE takes what is there after the first");
    check_received(n);
    for (; n < 3; n++)
        MUST(recv(pair[0], room[0], sizeof(room[0]), 0));

    prepare();
    FAILS(recvmmsg(pair[0], headers, most, MSG_DONTWAIT, NULL), EAGAIN, "MSG_DONTWAIT");
    send_three(&pair[1]);
    EQUALS(recvmmsg(pair[0], headers, most, MSG_DONTWAIT, NULL), 3, "MSG_DONTWAIT takes three");
    check_received(3);

    /* The time-out is looked at after each message only. */
    prepare();
    send_number(pair[1], 0);
    send_number(pair[1], 1);
    struct timespec limit = {0, 0};
    EQUALS(recvmmsg(pair[0], headers, most, 0, &limit), 1, "a time-out of 0 ends it after one");
    EQUALS(recv(pair[0], room[0], sizeof(room[0]), 0), 8, "the second is still there");
    limit = (struct timespec){0, 2000000};
    prepare();
    WHILE(send_four_slowly, &pair[1], n = recvmmsg(pair[0], headers, 1, 0, &limit));
    EQUALS(n, 1, "a time-out does not end the wait for the first");
    EQUALS(limit.tv_sec + limit.tv_nsec, 0, "the time that is left is written back");
    for (int i = 0; i < 3; i++)
        MUST(recv(pair[0], room[0], sizeof(room[0]), 0));
    limit = (struct timespec){0, 2000000000};
    FAILS(recvmmsg(pair[0], headers, 1, 0, &limit), EINVAL, "a time-out that is none");

    net_timeout(pair[0], SO_RCVTIMEO, 40);
    prepare();
    int64_t began = moment();
    FAILS(recvmmsg(pair[0], headers, 4, 0, NULL), EAGAIN, "SO_RCVTIMEO with nothing");
    LASTED_TICKS(began, 40, "after its time");
    send_number(pair[1], 0);
    EQUALS(recvmmsg(pair[0], headers, 4, 0, NULL), 1, "SO_RCVTIMEO with one");
    net_timeout(pair[0], SO_RCVTIMEO, 0);

    signal_catch(SIGUSR1, 0);
    struct poke poke = {pthread_self(), pair[1]};
    WHILE(send_one_and_signal, &poke, n = recvmmsg(pair[0], headers, 4, 0, NULL));
    EQUALS(n, 1, "a signal after one");
    /* The socket now holds an error that the kernel should have kept for itself: take a new one. */
    net_close(pair);
    net_pair(family, type, pair);
    KICKED(SIGUSR1, n = recvmmsg(pair[0], headers, 4, 0, NULL));
    FAILS(n, EINTR, "a signal before one");
    EQUALS(recvmmsg(pair[0], headers, 0, 0, NULL), 0, "none asked for");
    if (type == SOCK_SEQPACKET) {
        prepare();
        WHILE(send_two_and_end, &pair[1], n = recvmmsg(pair[0], headers, 4, 0, NULL));
        EQUALS(n, 4, "the end of file counts as messages");
        EQUALS(headers[1].msg_len, 8, "two with data");
        EQUALS(headers[2].msg_len + headers[3].msg_len, 0, "two without");
    }
    net_close(pair);
}

static void udp4(void)
{
    check_kind(AF_INET, SOCK_DGRAM);
}

static void local_dgram(void)
{
    check_kind(AF_UNIX, SOCK_DGRAM);
}

static void local_seqpacket(void)
{
    check_kind(AF_UNIX, SOCK_SEQPACKET);
}

static void take_all(void *arg)
{
    char got[4096];
    int left = ((int *)arg)[1];
    while (left-- > 0)
        MUST(recv(((int *)arg)[0], got, sizeof(got), 0));
}

/* sendmmsg: some fit and the rest does not. */
static void sending(void)
{
    enum { many = 64 };
    static char big[1000];
    struct mmsghdr out[many];
    struct iovec part = {big, sizeof(big)};
    int pair[2], n;
    for (int i = 0; i < many; i++)
        out[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    net_pair(AF_UNIX, SOCK_DGRAM, pair);
    net_small_buffers(pair);
    int fits = sendmmsg(pair[1], out, many, MSG_DONTWAIT);
    HOLDS(fits > 0 && fits < many, "MSG_DONTWAIT sends what fits");
    EQUALS(out[0].msg_len, sizeof(big), "the length of each");
    FAILS(sendmmsg(pair[1], out, many, MSG_DONTWAIT), EAGAIN, "then none");
    net_timeout(pair[1], SO_SNDTIMEO, 40);
    int64_t began = moment();
    FAILS(sendmmsg(pair[1], out, many, 0), EAGAIN, "SO_SNDTIMEO ends it");
    LASTED_TICKS(began, 40, "after its time");
    MUST(recv(pair[0], big, sizeof(big), 0));
    n = sendmmsg(pair[1], out, many, 0);
    HOLDS(n > 0 && n < many, "SO_SNDTIMEO ends it after some");
    net_timeout(pair[1], SO_SNDTIMEO, 0);
    fits += n - 1;
    int taking[2] = {pair[0], fits + 4};
    WHILE(take_all, taking, n = sendmmsg(pair[1], out, 4, 0));
    EQUALS(n, 4, "it waits for room for all");
    EQUALS(sendmmsg(pair[1], out, 0, 0), 0, "none asked for");
    net_close(pair);
}

static const struct check checks[] = {CHECK(udp4), CHECK(local_dgram), CHECK(local_seqpacket),
                                      CHECK(sending)};

TICKING_MAIN(checks)
