/* Signals and blocked socket calls: EINTR without SA_RESTART, going on with it, for each call;
 * the handler runs on the blocked thread, while it is blocked. */
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2], listener, client;
static struct address where;
static char big[1 << 20];

static long by_recv(void)
{
    return recv(pair[0], big, 10, 0);
}

static long by_recvfrom(void)
{
    return recvfrom(pair[0], big, 10, 0, NULL, NULL);
}

static long by_recvmsg(void)
{
    struct iovec part = {big, 10};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return recvmsg(pair[0], &header, 0);
}

static long by_recvmmsg(void)
{
    struct iovec part = {big, 10};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    return recvmmsg(pair[0], &header, 1, 0, NULL);
}

static long by_read(void)
{
    return read(pair[0], big, 10);
}

static long by_readv(void)
{
    struct iovec part = {big, 10};
    return readv(pair[0], &part, 1);
}

static long by_accept(void)
{
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 1;
}

static long by_send(void)
{
    return send(pair[0], big, 4096, 0);
}

static long by_sendmsg(void)
{
    struct iovec part = {big, 4096};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(pair[0], &header, 0);
}

static long by_write(void)
{
    return write(pair[0], big, 4096);
}

static long by_writev(void)
{
    struct iovec part = {big, 4096};
    return writev(pair[0], &part, 1);
}

static const struct form {
    const char *name;
    long (*call)(void);
    enum { receives, accepts, sends } kind;
} forms[] = {
    {"recv", by_recv, receives},         {"recvfrom", by_recvfrom, receives},
    {"recvmsg", by_recvmsg, receives},   {"recvmmsg", by_recvmmsg, receives},
    {"read", by_read, receives},         {"readv", by_readv, receives},
    {"accept", by_accept, accepts},      {"send", by_send, sends},
    {"sendmsg", by_sendmsg, sends},      {"write", by_write, sends},
    {"writev", by_writev, sends},
};

static void release(const struct form *form)
{
    if (form->kind == receives)
        MUST(send(pair[1], "x", 1, 0));
    else
        client = net_connect(&where, SOCK_STREAM);
}

struct poke {
    pthread_t target;
    const struct form *form;
};

/* The handler must run while the call waits; only then is the call released. */
static void signal_then_release(void *arg)
{
    struct poke *poke = arg;
    pthread_kill(poke->target, SIGUSR1);
    for (int i = 0; i < 4000 && signal_count == 0; i++)
        sleep_ms(1);
    HOLDS(signal_count == 1, "the handler runs while the call waits");
    ticker_wait(10);
    release(poke->form);
}

static void check_forms(int family)
{
    int type = SOCK_STREAM;
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        const struct form *form = &forms[f];
        struct poke poke = {pthread_self(), form};
        long n;
        check_current = form->name;
        net_pair(family, type, pair);
        net_small_buffers(pair);
        listener = net_listen(family, type, 4, &where);
        client = -1;
        if (form->kind == sends)
            net_fill(pair[0]);
        signal_catch(SIGUSR1, 0);
        /* TCP may find a little more room first. */
        KICKED(SIGUSR1, do { n = form->call(); } while (form->kind == sends && n > 0));
        FAILS(n, EINTR, "without SA_RESTART");
        HOLDS(pthread_equal(signal_thread, pthread_self()), "the handler ran on this thread");
        if (form->kind != sends) {
            signal_catch(SIGUSR1, SA_RESTART);
            signal_count = 0;
            WHILE(signal_then_release, &poke, n = form->call());
            EQUALS(n, 1, "with SA_RESTART");
        }
        close(client);
        close(listener);
        net_close(pair);
    }
}

static void tcp4(void)
{
    check_forms(AF_INET);
}

static void local(void)
{
    check_forms(AF_UNIX);
}

/* An ignored or blocked signal interrupts nothing. */
static void ignored_or_blocked(void)
{
    struct poke poke = {pthread_self(), &forms[0]};
    sigset_t usr1, pending;
    net_pair(AF_INET, SOCK_STREAM, pair);
    signal(SIGUSR1, SIG_IGN);
    signal_count = 1;
    ssize_t n;
    WHILE(signal_then_release, &poke, n = recv(pair[0], big, 10, 0));
    EQUALS(n, 1, "an ignored signal");
    signal_catch(SIGUSR1, 0);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal_count = 1;
    WHILE(signal_then_release, &poke, n = recv(pair[0], big, 10, 0));
    EQUALS(n, 1, "a blocked signal");
    EQUALS(signal_count, 1, "has not run its handler");
    sigpending(&pending);
    EQUALS(sigismember(&pending, SIGUSR1), 1, "it is pending");
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    EQUALS(signal_count, 2, "and comes when unblocked");
    net_close(pair);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(local), CHECK(ignored_or_blocked)};

TICKING_MAIN(checks)
