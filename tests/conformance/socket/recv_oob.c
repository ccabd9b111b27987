/* Urgent data of TCP: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI and SIGURG. */
#include <poll.h>
#include <sys/ioctl.h>

#include "kit/net.h"
#include "kit/threads.h"

static void send_urgent(void *arg)
{
    MUST(send(*(int *)arg, "!", 1, MSG_OOB));
}

static void send_urgent_then_plain(void *arg)
{
    send_urgent(arg);
    ticker_wait(10);
    MUST(send(*(int *)arg, "plain", 5, 0));
}

static void urgent(void)
{
    int pair[2], mark = -1, on = 1, ready;
    char got[16] = "";
    ssize_t n = 0;
    net_pair(AF_INET, SOCK_STREAM, pair);
    FAILS(recv(pair[0], got, 1, MSG_OOB), EINVAL, "without urgent data MSG_OOB does not wait");
    struct pollfd wait = {pair[0], POLLPRI, 0};
    WHILE(send_urgent, &pair[1], ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll waits for urgent data");
    EQUALS(wait.revents, POLLPRI, "POLLPRI alone");
    EQUALS(recv(pair[0], got, sizeof(got), MSG_OOB), 1, "MSG_OOB takes it");
    HOLDS(got[0] == '!', "it is the byte");
    FAILS(recv(pair[0], got, 1, MSG_OOB), EINVAL, "once");
    FAILS(recv(pair[0], got, 1, MSG_DONTWAIT), EAGAIN, "it is not in the stream");

    WHILE(send_urgent_then_plain, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 5, "urgent data does not end a blocked read");
    BYTES(got, "plain", 5, "plain data does");
    FAILS(recv(pair[0], got, 1, MSG_OOB), EINVAL, "reading past the mark drops the urgent byte");

    MUST(send(pair[1], "ab", 2, 0));
    MUST(send(pair[1], "c!", 2, MSG_OOB));
    MUST(send(pair[1], "de", 2, 0));
    sleep_ms(5);
    n = recv(pair[0], got, 8, 0);
    EQUALS(n, 3, "reading stops at the mark");
    EQUALS(ioctl(pair[0], SIOCATMARK, &mark), 0, "SIOCATMARK");
    EQUALS(mark, 1, "says so");
    EQUALS(sockatmark(pair[0]), 1, "sockatmark too");
    EQUALS(recv(pair[0], got, 1, MSG_OOB), 1, "the urgent byte can be had there");
    EQUALS(recv(pair[0], got, 2, MSG_WAITALL), 2, "the rest");
    BYTES(got, "de", 2, "without the urgent byte");

    EQUALS(setsockopt(pair[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)), 0, "SO_OOBINLINE");
    WHILE(send_urgent, &pair[1], n = recv(pair[0], got, sizeof(got), 0));
    EQUALS(n, 1, "a blocked read gets it in line");
    FAILS(recv(pair[0], got, 1, MSG_OOB), EINVAL, "MSG_OOB does not");
    net_close(pair);
}

static void sigurg(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    signal_catch(SIGURG, SA_RESTART);
    signal_count = 0;
    MUST(fcntl(pair[0], F_SETOWN, getpid()));
    EQUALS(fcntl(pair[0], F_GETOWN), getpid(), "F_GETOWN");
    MUST(send(pair[1], "!", 1, MSG_OOB));
    for (int i = 0; i < 1000 && signal_count == 0; i++)
        sleep_ms(1);
    EQUALS(signal_count, 1, "SIGURG comes");
    net_close(pair);
}

static const struct check checks[] = {CHECK(urgent), CHECK(sigurg)};

TICKING_MAIN(checks)
