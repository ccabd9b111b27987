/* A TCP connect that has to wait because the listener's backlog is full: SO_SNDTIMEO ends it, a
 * signal interrupts it without ending the attempt, SA_RESTART goes on with it, and it succeeds
 * when the listener accepts (the kernel sends the SYN again after a second). */
#include <poll.h>

#include "kit/net.h"
#include "kit/threads.h"

static struct address where;
static int listener;

static void accept_two(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        int fd = MUST(accept(listener, NULL, NULL));
        close(fd);
    }
}

/* A listener whose backlog of 0 is full: the one connection that it still takes. */
static int fill(void)
{
    listener = net_listen(AF_INET, SOCK_STREAM, 0, &where);
    return net_connect(&where, SOCK_STREAM);
}

static void interrupt_then_accept(void *arg)
{
    for (int i = 0; i < 3; i++) {
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
        ticker_wait(5);
    }
    accept_two(NULL);
}

static void timeout_and_interruption(void)
{
    int first = fill(), result = 0;
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    net_timeout(fd, SO_SNDTIMEO, 100);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(connect(fd, &where.any, where.length), EINPROGRESS, "SO_SNDTIMEO ends a connect");
    LASTED_TICKS(began, 100, "after its time");
    OTHERS_RAN(ticks, connect(fd, &where.any, where.length));
    FAILS(connect(fd, &where.any, where.length), EALREADY, "connect again");
    int fast = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    FAILS(connect(fast, &where.any, where.length), EINPROGRESS, "a non-blocking one");
    struct pollfd wait = {fast, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 50), 0, "is not ready");
    close(fast);
    close(fd);

    signal_catch(SIGUSR1, 0);
    fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    KICKED(SIGUSR1, result = connect(fd, &where.any, where.length));
    FAILS(result, EINTR, "a signal interrupts a connect");
    wait = (struct pollfd){fd, POLLOUT, 0};
    EQUALS(poll(&wait, 1, 10), 0, "which goes on");
    accept_two(NULL);
    EQUALS(poll(&wait, 1, 4000), 1, "until somebody accepts");
    EQUALS(wait.revents, POLLOUT, "POLLOUT alone");
    EQUALS(net_error(fd), 0, "SO_ERROR is 0");
    EQUALS(connect(fd, &where.any, where.length), 0, "connect tells of success");
    close(fd);
    close(first);
    close(listener);
}

static void restart(void)
{
    int first = fill(), result = 0;
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    pthread_t self = pthread_self();
    WHILE(interrupt_then_accept, &self, result = connect(fd, &where.any, where.length));
    EQUALS(result, 0, "SA_RESTART goes on with a connect");
    HOLDS(signal_count >= 1, "the handler ran");
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "O_NONBLOCK is off");
    close(fd);
    close(first);
    close(listener);
}

static const struct check checks[] = {CHECK(timeout_and_interruption), CHECK(restart)};

TICKING_MAIN(checks)
