/* How much a write says it wrote: all of it where it blocks, a part where the socket does not
 * block, a part where a signal or the peer's end comes in between. */
#include "kit/net.h"
#include "kit/threads.h"

enum { size = 8 * 1024 * 1024 };
static char block[size];

static void drain_slowly(void *arg)
{
    long left = size;
    char part[65536];
    while (left > 0) {
        ssize_t n = recv(*(int *)arg, part, sizeof(part), 0);
        if (n <= 0)
            return;
        left -= n;
        if ((left & 0x1ffff) < n)
            sleep_ms(1);
    }
}

struct poke {
    pthread_t target;
    int fd;
};

static void send_signal(void *arg)
{
    pthread_kill(((struct poke *)arg)->target, SIGUSR1);
}

/* Lets some through, then ends the connection for good. */
static void take_some_and_close(void *arg)
{
    net_drain(*(int *)arg, 100000);
    ticker_wait(5);
    close(*(int *)arg);
}

static void check_family(int family)
{
    int pair[2];
    ssize_t n;
    net_pair(family, SOCK_STREAM, pair);
    net_small_buffers(pair);
    WHILE(drain_slowly, &pair[1], n = send(pair[0], block, size, 0));
    EQUALS(n, size, "a blocking send sends all");
    WHILE(drain_slowly, &pair[1], n = write(pair[0], block, size));
    EQUALS(n, size, "a blocking write writes all");

    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    n = send(pair[0], block, size, 0);
    HOLDS(n > 0 && n < size, "a non-blocking send sends a part");
    net_fill(pair[0]);
    FAILS(write(pair[0], block, size), EAGAIN, "a non-blocking write when full");
    MUST(fcntl(pair[0], F_SETFL, 0));
    net_close(pair);

    struct poke poke = {.target = pthread_self()};
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        net_pair(family, SOCK_STREAM, pair);
        net_small_buffers(pair);
        signal_catch(SIGUSR1, flags);
        WHILE(send_signal, &poke, n = send(pair[0], block, size, 0));
        HOLDS(n > 0 && n < size, "a signal gives the part that was sent");
        net_fill(pair[0]);
        if (flags == 0) {
            KICKED(SIGUSR1, n = send(pair[0], block, size, 0));
            FAILS(n, EINTR, "and with none EINTR");
        }
        net_close(pair);
    }
    signal_catch(SIGPIPE, 0);
    net_pair(family, SOCK_STREAM, pair);
    net_small_buffers(pair);
    WHILE(take_some_and_close, &pair[1], n = send(pair[0], block, size, 0));
    HOLDS(n > 0 && n < size, "the peer's end gives the part that was sent");
    n = send(pair[0], block, size, 0);
    HOLDS(n == -1 && (errno == EPIPE || errno == ECONNRESET), "and the next send fails");
    close(pair[0]);
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

static const struct check checks[] = {CHECK(tcp4), CHECK(tcp6), CHECK(local)};

TICKING_MAIN(checks)
