/* Writing to a connection that the peer has closed: SIGPIPE to the thread that writes, EPIPE
 * alone with MSG_NOSIGNAL or where the signal is ignored or blocked, and death by default. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static ssize_t by_send(int fd)
{
    return send(fd, "x", 1, 0);
}

static ssize_t by_sendmsg(int fd)
{
    struct iovec part = {"x", 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &header, 0);
}

static ssize_t by_sendmmsg(int fd)
{
    struct iovec part = {"x", 1};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    return sendmmsg(fd, &header, 1, 0);
}

static ssize_t by_write(int fd)
{
    return write(fd, "x", 1);
}

static ssize_t by_writev(int fd)
{
    struct iovec part = {"x", 1};
    return writev(fd, &part, 1);
}

static const struct form {
    const char *name;
    ssize_t (*call)(int fd);
} forms[] = {
    {"send", by_send},   {"sendmsg", by_sendmsg}, {"sendmmsg", by_sendmmsg},
    {"write", by_write}, {"writev", by_writev},
};

/* One end of a connection whose other end is gone, past the reset that TCP tells of first. */
static int widow(int family)
{
    int pair[2];
    net_pair(family, SOCK_STREAM, pair);
    MUST(shutdown(pair[0], SHUT_WR));
    close(pair[1]);
    return pair[0];
}

static void check_family(int family)
{
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        int fd = widow(family);
        check_current = forms[f].name;
        signal_catch(SIGPIPE, 0);
        signal_count = 0;
        FAILS(forms[f].call(fd), EPIPE, "with a handler");
        EQUALS(signal_count, 1, "the handler ran before the call was back");
        HOLDS(pthread_equal(signal_thread, pthread_self()), "on the thread that wrote");
        FAILS(forms[f].call(fd), EPIPE, "again");
        EQUALS(signal_count, 2, "again");
        signal(SIGPIPE, SIG_IGN);
        FAILS(forms[f].call(fd), EPIPE, "ignored");
        signal_catch(SIGPIPE, 0);
        sigset_t pipe_only, pending;
        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
        signal_count = 0;
        FAILS(forms[f].call(fd), EPIPE, "blocked");
        EQUALS(signal_count, 0, "no handler");
        sigpending(&pending);
        EQUALS(sigismember(&pending, SIGPIPE), 1, "but the signal is pending");
        int number = 0;
        CODE(sigwait(&pipe_only, &number), 0, "sigwait");
        EQUALS(number, SIGPIPE, "takes it");
        pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
        EQUALS(signal_count, 0, "once");
        close(fd);
    }
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static void nosignal(void)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    signal_catch(SIGPIPE, 0);
    signal_count = 0;
    for (int i = 0; i < 3; i++) {
        int fd = widow(families[i]);
        struct iovec part = {"x", 1};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE, "send");
        FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, NULL, 0), EPIPE, "sendto");
        FAILS(sendmsg(fd, &header, MSG_NOSIGNAL), EPIPE, "sendmsg");
        close(fd);
    }
    EQUALS(signal_count, 0, "no signal");
}

/* A thread of its own gets the signal, not the main thread. */
static void *write_on_thread(void *arg)
{
    FAILS(write(*(int *)arg, "x", 1), EPIPE, "write on another thread");
    HOLDS(pthread_equal(signal_thread, pthread_self()), "the handler ran there");
    return NULL;
}

static void other_thread(void)
{
    int fd = widow(AF_UNIX);
    signal_catch(SIGPIPE, 0);
    signal_count = 0;
    finish(start(write_on_thread, &fd));
    EQUALS(signal_count, 1, "one signal");
    close(fd);
}

/* Blocked in a write when the way is shut. */
static void shut_own(void *arg)
{
    MUST(shutdown(*(int *)arg, SHUT_WR));
}

static void while_blocked(void)
{
    static char block[1 << 20];
    int pair[2];
    ssize_t n;
    signal_catch(SIGPIPE, 0);
    signal_count = 0;
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    WHILE(shut_own, &pair[0], n = write(pair[0], block, sizeof(block)));
    FAILS(n, EPIPE, "the way is shut while a write waits");
    EQUALS(signal_count, 1, "with its signal");
    HOLDS(pthread_equal(signal_thread, pthread_self()), "on the thread that wrote");
    net_close(pair);
}

static int die(void)
{
    int fd = widow(AF_UNIX);
    signal(SIGPIPE, SIG_DFL);
    if (write(fd, "x", 1) != 0)
        return 3;
    return 4;
}

static void by_default(void)
{
    EXPECT_KILLED(child_run(die), SIGPIPE);
}

static const struct check checks[] = {CHECK(tcp4),         CHECK(local),         CHECK(nosignal),
                                      CHECK(other_thread), CHECK(while_blocked), CHECK(by_default)};

TICKING_MAIN(checks)
