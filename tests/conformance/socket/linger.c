/* close and shutdown of a TCP socket with SO_LINGER: the call waits until the data is gone or the
 * time is up, and other threads run meanwhile; a zero time resets. */
#include "kit/net.h"
#include "kit/threads.h"

static void linger_set(int fd, int seconds)
{
    struct linger value = {1, seconds}, got = {-1, -1};
    socklen_t length = sizeof(got);
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value)));
    EQUALS(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length), 0, "getsockopt");
    EQUALS(got.l_linger, seconds, "the time as set");
}

static void time_is_up(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    linger_set(pair[0], 1);
    net_fill(pair[0]);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    EQUALS(close(pair[0]), 0, "close with data that nobody takes");
    LASTED_TICKS(began, 990, "waits for the linger time");
    HOLDS(ticker_now() - ticks >= 10, "others ran");
    close(pair[1]);
}

static void drain_all(void *arg)
{
    char part[65536];
    while (recv(*(int *)arg, part, sizeof(part), 0) > 0)
        continue;
    close(*(int *)arg);
}

static void taken_in_time(void)
{
    int pair[2], result;
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    linger_set(pair[0], 30);
    net_fill(pair[0]);
    int64_t began = moment();
    WHILE(drain_all, &pair[1], result = close(pair[0]));
    EQUALS(result, 0, "close with data that the peer takes");
    LASTED(began, 0, "ends with it");
}

static void zero(void)
{
    int pair[2];
    char c;
    net_pair(AF_INET, SOCK_STREAM, pair);
    linger_set(pair[0], 0);
    MUST(send(pair[0], "lost", 4, 0));
    EQUALS(close(pair[0]), 0, "close");
    sleep_ms(5);
    ssize_t n = recv(pair[1], &c, 1, MSG_WAITALL);
    HOLDS(n == 1 || (n == -1 && errno == ECONNRESET), "the peer sees a reset");
    close(pair[1]);
}

static const struct check checks[] = {CHECK(time_is_up), CHECK(taken_in_time), CHECK(zero)};

TICKING_MAIN(checks)
