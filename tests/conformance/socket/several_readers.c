/* Several threads read one socket: each message goes to one of them, none is lost, a single
 * message wakes one, a reader and a writer do not hold each other up. */
#include "kit/net.h"
#include "kit/threads.h"

enum { readers = 6, messages = 300 };

static int pair[2];
static atomic_int seen[messages], doubled, ended;

static void *packet_reader(void *unused)
{
    (void)unused;
    long count = 0;
    for (;;) {
        int number = -1;
        ssize_t n = recv(pair[0], &number, sizeof(number), 0);
        if (n == 0)
            break;
        if (n != sizeof(number) || number < 0 || number >= messages)
            return (void *)-1000L;
        if (atomic_fetch_add(&seen[number], 1) != 0)
            atomic_fetch_add(&doubled, 1);
        count++;
    }
    atomic_fetch_add(&ended, 1);
    return (void *)count;
}

static void wait_seen(int message)
{
    for (int i = 0; i < 2000 && atomic_load(&seen[message]) == 0; i++)
        sleep_ms(1);
}

static void check_packets(int family, int type)
{
    pthread_t threads[readers];
    long total = 0;
    memset(seen, 0, sizeof(seen));
    atomic_store(&doubled, 0);
    atomic_store(&ended, 0);
    net_pair(family, type, pair);
    for (int i = 0; i < readers; i++)
        threads[i] = start(packet_reader, NULL);
    ticker_wait(10);
    for (int i = 0; i < messages; i++) {
        MUST(send(pair[1], &i, sizeof(i), 0));
        if (i % 50 == 0)
            wait_seen(i); /* the kernel drops datagrams that its buffer does not hold */
    }
    wait_seen(messages - 1);
    sleep_ms(10);
    MUST(shutdown(pair[0], SHUT_RDWR));
    for (int i = 0; i < readers; i++)
        total += (long)finish(threads[i]);
    EQUALS(total, messages, "every message was read");
    EQUALS(atomic_load(&doubled), 0, "once");
    EQUALS(atomic_load(&ended), readers, "every reader saw the end");
    net_close(pair);
}

static void local_dgram(void)
{
    check_packets(AF_UNIX, SOCK_DGRAM);
}

static void local_seqpacket(void)
{
    check_packets(AF_UNIX, SOCK_SEQPACKET);
}

static void udp4(void)
{
    check_packets(AF_INET, SOCK_DGRAM);
}

static void *byte_reader(void *unused)
{
    (void)unused;
    long count = 0;
    char c;
    while (recv(pair[0], &c, 1, 0) == 1)
        count++;
    return (void *)count;
}

static void check_bytes(int family)
{
    pthread_t threads[readers];
    static char data[3000];
    long total = 0;
    net_pair(family, SOCK_STREAM, pair);
    for (int i = 0; i < readers; i++)
        threads[i] = start(byte_reader, NULL);
    ticker_wait(10);
    for (int i = 0; i < 3; i++)
        MUST(send(pair[1], data + 1000 * i, 1000, 0));
    MUST(shutdown(pair[1], SHUT_WR));
    for (int i = 0; i < readers; i++)
        total += (long)finish(threads[i]);
    EQUALS(total, 3000, "every byte was read once");
    net_close(pair);
}

static void bytes_tcp4(void)
{
    check_bytes(AF_INET);
}

static void bytes_local(void)
{
    check_bytes(AF_UNIX);
}

/* One message wakes one reader; the others stay blocked until theirs comes. */
static atomic_int woken;

static void *read_one(void *unused)
{
    char c;
    (void)unused;
    EQUALS(recv(pair[0], &c, 1, 0), 1, "one byte");
    atomic_fetch_add(&woken, 1);
    return NULL;
}

static void one_at_a_time(void)
{
    pthread_t threads[readers];
    atomic_store(&woken, 0);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    for (int i = 0; i < readers; i++)
        threads[i] = start(read_one, NULL);
    ticker_wait(15);
    for (int i = 0; i < readers; i++) {
        EQUALS(atomic_load(&woken), i, "nobody is woken without a message");
        MUST(send(pair[1], "x", 1, 0));
        for (int j = 0; j < 2000 && atomic_load(&woken) <= i; j++)
            sleep_ms(1);
        ticker_wait(5);
        EQUALS(atomic_load(&woken), i + 1, "a message wakes one");
    }
    for (int i = 0; i < readers; i++)
        finish(threads[i]);
    net_close(pair);
}

/* A reader that waits does not stop writers of the same socket, nor a second reader with
 * MSG_DONTWAIT. */
static void *echo(void *unused)
{
    char c;
    (void)unused;
    while (recv(pair[1], &c, 1, 0) == 1)
        MUST(send(pair[1], &c, 1, 0));
    return NULL;
}

static atomic_int taken;

static void *take_four(void *unused)
{
    char c;
    (void)unused;
    for (int i = 0; i < 4; i++) {
        EQUALS(recv(pair[0], &c, 1, 0), 1, "the blocked reader gets what was echoed");
        atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

static void reader_beside_writer(void)
{
    atomic_store(&taken, 0);
    net_pair(AF_INET, SOCK_STREAM, pair);
    pthread_t peer = start(echo, NULL), reader = start(take_four, NULL);
    ticker_wait(10);
    char c;
    for (int i = 0; i < 4; i++) {
        FAILS(recv(pair[0], &c, 1, MSG_DONTWAIT), EAGAIN, "MSG_DONTWAIT beside a blocked reader");
        EQUALS(send(pair[0], "w", 1, 0), 1, "send beside a blocked reader");
        for (int j = 0; j < 4000 && atomic_load(&taken) <= i; j++)
            sleep_ms(1);
    }
    finish(reader);
    EQUALS(atomic_load(&taken), 4, "the reader has all four");
    MUST(shutdown(pair[0], SHUT_WR));
    finish(peer);
    net_close(pair);
}

static const struct check checks[] = {
    CHECK(local_dgram), CHECK(local_seqpacket), CHECK(udp4),
    CHECK(bytes_tcp4),  CHECK(bytes_local),     CHECK(one_at_a_time),
    CHECK(reader_beside_writer),
};

TICKING_MAIN(checks)
