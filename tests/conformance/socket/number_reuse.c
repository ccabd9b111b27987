/* Thousands of short connections whose descriptor numbers are taken again at once: no answer ever
 * goes to the wrong connection, and no wait is lost. */
#include "kit/net.h"
#include "kit/threads.h"

enum { servers = 4, clients = 6, rounds = 400 };

static struct address where;
static int listener;

/* Answers with the number that came, doubled, and closes from either side first, in turn. */
static void *server(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        long number = 0;
        if (recv(fd, &number, sizeof(number), MSG_WAITALL) == sizeof(number)) {
            long answer = number * 2;
            send(fd, &answer, sizeof(answer), MSG_NOSIGNAL);
            if (number % 2 == 0) {
                char c;
                recv(fd, &c, 1, 0);
            }
        }
        close(fd);
    }
}

static void *client(void *arg)
{
    long right = 0;
    for (long i = 0; i < rounds; i++) {
        long number = (long)arg * rounds + i, answer = -1;
        int fd = net_connect(&where, SOCK_STREAM);
        send(fd, &number, sizeof(number), MSG_NOSIGNAL);
        if (recv(fd, &answer, sizeof(answer), MSG_WAITALL) == sizeof(answer))
            right += answer == number * 2;
        close(fd);
    }
    return (void *)right;
}

static void check_family(int family)
{
    pthread_t s[servers], c[clients];
    long right = 0;
    listener = net_listen(family, SOCK_STREAM, 128, &where);
    for (int i = 0; i < servers; i++)
        s[i] = start(server, NULL);
    for (long i = 0; i < clients; i++)
        c[i] = start(client, (void *)i);
    for (int i = 0; i < clients; i++)
        right += (long)finish(c[i]);
    EQUALS(right, clients * rounds, "every answer came to the one who asked");
    ticker_wait(20);
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; i < servers; i++)
        finish(s[i]);
    close(listener);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void local(void)
{
    check_family(AF_UNIX);
}

/* The same number is now a pipe, now a socket, now an AF_UNIX datagram socket; each is waited on
 * and then closed. */
static void *send_later(void *arg)
{
    int *pair = arg;
    sched_yield();
    if (write(pair[1], "x", 1) != 1)
        return (void *)1;
    return NULL;
}

static void kinds_in_turn(void)
{
    int right = 0, same = 0, number = -1;
    for (int i = 0; i < 600; i++) {
        int pair[2];
        char c = 0;
        if (i % 3 == 0)
            MUST(pipe(pair));
        else if (i % 3 == 1)
            net_pair(AF_UNIX, SOCK_STREAM, pair);
        else
            net_pair(AF_UNIX, SOCK_DGRAM, pair);
        same += pair[0] == number;
        number = pair[0];
        pthread_t thread = start(send_later, pair);
        right += read(pair[0], &c, 1) == 1 && c == 'x';
        finish(thread);
        net_close(pair);
    }
    EQUALS(right, 600, "each wait got its byte");
    EQUALS(same, 599, "on one and the same number");
}

static const struct check checks[] = {CHECK(tcp4), CHECK(local), CHECK(kinds_in_turn)};

TICKING_MAIN(checks)
