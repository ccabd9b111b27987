/* AF_UNIX connect against a full backlog waits for an accept, though poll never says so. */
#include "kit/net.h"
#include "kit/threads.h"

static struct address where;
static int listener;

static void accept_one(void *arg)
{
    int fd = MUST(accept(listener, NULL, NULL));
    *(int *)arg = fd;
}

static void interrupt_then_accept(void *arg)
{
    pthread_t target = *(pthread_t *)arg;
    for (int i = 0; i < 3; i++) {
        pthread_kill(target, SIGUSR1);
        ticker_wait(5);
    }
    int fd = MUST(accept(listener, NULL, NULL));
    close(fd);
}

static void close_listener(void *unused)
{
    (void)unused;
    close(listener);
}

static void *connect_thread(void *unused)
{
    (void)unused;
    int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    EQUALS(connect(fd, &where.any, where.length), 0, "each of several connects");
    EQUALS(send(fd, "x", 1, MSG_NOSIGNAL), 1, "can send");
    close(fd);
    return NULL;
}

static void check_type(int type)
{
    int accepted = -1, result = 0, fd;
    listener = net_listen(AF_UNIX, type, 0, &where);
    int first = net_connect(&where, type);
    fd = MUST(socket(AF_UNIX, type, 0));
    net_timeout(fd, SO_SNDTIMEO, 60);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(connect(fd, &where.any, where.length), EAGAIN, "SO_SNDTIMEO ends a connect");
    LASTED_TICKS(began, 60, "after its time");
    OTHERS_RAN(ticks, connect(fd, &where.any, where.length));
    net_timeout(fd, SO_SNDTIMEO, 0);
    WHILE(accept_one, &accepted, result = connect(fd, &where.any, where.length));
    EQUALS(result, 0, "connect waits for an accept");
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "O_NONBLOCK is off");
    close(accepted);
    close(fd);

    fd = MUST(socket(AF_UNIX, type | SOCK_NONBLOCK, 0));
    FAILS(connect(fd, &where.any, where.length), EAGAIN, "a non-blocking one fails at once");
    close(fd);

    fd = MUST(socket(AF_UNIX, type, 0));
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = connect(fd, &where.any, where.length));
    FAILS(result, EINTR, "a signal interrupts it");
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    pthread_t self = pthread_self();
    WHILE(interrupt_then_accept, &self, result = connect(fd, &where.any, where.length));
    EQUALS(result, 0, "SA_RESTART goes on with it");
    HOLDS(signal_count >= 1, "the handler ran");
    close(fd);

    fd = MUST(socket(AF_UNIX, type, 0));
    WHILE(close_listener, NULL, result = connect(fd, &where.any, where.length));
    FAILS(result, ECONNREFUSED, "the listener closes under it");
    close(fd);
    close(first);
}

static void several_at_once(void)
{
    enum { several = 12 };
    pthread_t threads[several];
    listener = net_listen(AF_UNIX, SOCK_STREAM, 0, &where);
    for (int i = 0; i < several; i++)
        threads[i] = start(connect_thread, NULL);
    ticker_wait(10);
    int right = 0;
    for (int i = 0; i < several; i++) {
        char c = 0;
        int fd = MUST(accept(listener, NULL, NULL));
        right += recv(fd, &c, 1, 0) == 1 && c == 'x';
        close(fd);
    }
    for (int i = 0; i < several; i++)
        finish(threads[i]);
    EQUALS(right, several, "every waiting connect got through");
    close(listener);
}

static void local_stream(void)
{
    check_type(SOCK_STREAM);
}

static void local_seqpacket(void)
{
    check_type(SOCK_SEQPACKET);
}

static const struct check checks[] = {
    CHECK(local_stream), CHECK(local_seqpacket), CHECK(several_at_once),
};

TICKING_MAIN(checks)
