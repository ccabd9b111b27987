/* Several threads accept on one listener: each connection goes to one of them, none is lost, and
 * all acceptors end when the listener is shut down. */
#include "kit/net.h"
#include "kit/threads.h"

enum { acceptors = 8, clients = 8, rounds = 60 };

static struct address where;
static int listener;
static atomic_int served, doubled, ended;
static atomic_char seen[clients * rounds];

static void *acceptor(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EINVAL)
                atomic_fetch_add(&ended, 1);
            return NULL;
        }
        int number = -1;
        if (recv(fd, &number, sizeof(number), MSG_WAITALL) == sizeof(number) &&
            send(fd, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number)) {
            if (atomic_exchange(&seen[number], 1))
                atomic_fetch_add(&doubled, 1);
            atomic_fetch_add(&served, 1);
        }
        close(fd);
    }
}

static void *client(void *arg)
{
    long answered = 0;
    for (int i = 0; i < rounds; i++) {
        int number = (int)(long)arg * rounds + i, got = -1;
        int fd = net_connect(&where, SOCK_STREAM);
        if (send(fd, &number, sizeof(number), 0) == sizeof(number) &&
            recv(fd, &got, sizeof(got), MSG_WAITALL) == sizeof(got) && got == number)
            answered++;
        close(fd);
    }
    return (void *)answered;
}

static void check_family(int family)
{
    pthread_t a[acceptors], c[clients];
    long answered = 0;
    atomic_store(&served, 0);
    atomic_store(&ended, 0);
    memset(seen, 0, sizeof(seen));
    listener = net_listen(family, SOCK_STREAM, 64, &where);
    for (int i = 0; i < acceptors; i++)
        a[i] = start(acceptor, NULL);
    ticker_wait(5);
    for (long i = 0; i < clients; i++)
        c[i] = start(client, (void *)i);
    for (int i = 0; i < clients; i++)
        answered += (long)finish(c[i]);
    EQUALS(answered, clients * rounds, "every client was answered");
    ticker_wait(20);
    EQUALS(shutdown(listener, SHUT_RDWR), 0, "shutdown of the listener");
    for (int i = 0; i < acceptors; i++)
        finish(a[i]);
    EQUALS(atomic_load(&served), clients * rounds, "every connection was accepted once");
    EQUALS(atomic_load(&doubled), 0, "none twice");
    EQUALS(atomic_load(&ended), acceptors, "ends every acceptor with EINVAL");
    FAILS(accept(listener, NULL, NULL), EINVAL, "and later accepts");
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
    CHECK(tcp4), CHECK(tcp6), CHECK(local),
};

TICKING_MAIN(checks)
