/* Running out of descriptors: each maker says EMFILE, blocked calls go on, and all recovers. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { limit_to = 64 };

static struct rlimit before;
static int taken[limit_to], taken_count;

static void exhaust(void)
{
    struct rlimit lower;
    MUST(getrlimit(RLIMIT_NOFILE, &before));
    lower = (struct rlimit){limit_to, before.rlim_max};
    MUST(setrlimit(RLIMIT_NOFILE, &lower));
    int fd;
    taken_count = 0;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        taken[taken_count++] = fd;
    EQUALS(errno, EMFILE, "open ends with EMFILE");
    HOLDS(taken_count > 20, "after a good number");
}

static void recover(void)
{
    while (taken_count > 0)
        close(taken[--taken_count]);
    MUST(setrlimit(RLIMIT_NOFILE, &before));
}

static void makers(void)
{
    int pair[2];
    sigset_t none;
    sigemptyset(&none);
    exhaust();
    FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE, "socket");
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), EMFILE, "socketpair");
    FAILS(pipe(pair), EMFILE, "pipe");
    FAILS(dup(0), EMFILE, "dup");
    FAILS(fcntl(0, F_DUPFD, 0), EMFILE, "F_DUPFD");
    FAILS(eventfd(0, 0), EMFILE, "eventfd");
    FAILS(timerfd_create(CLOCK_MONOTONIC, 0), EMFILE, "timerfd_create");
    FAILS(signalfd(-1, &none, 0), EMFILE, "signalfd");
    FAILS(inotify_init1(0), EMFILE, "inotify_init1");
    FAILS(epoll_create1(0), EMFILE, "epoll_create1");
    HOLDS(fopen("/dev/null", "r") == NULL && errno == EMFILE, "fopen");
    EQUALS(dup2(0, taken[0]), taken[0], "dup2 over an open one works");
    recover();
    EQUALS(pipe(pair), 0, "afterwards pipe works");
    close(pair[0]);
    close(pair[1]);
}

/* With none left, threads start, wait, time out and wake as ever. */
static int pair[2];

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static void *timed(void *unused)
{
    struct timespec until = ms_from_now(CLOCK_REALTIME, 20);
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    int error = 0;
    (void)unused;
    pthread_mutex_lock(&mutex);
    while (error == 0)
        error = pthread_cond_timedwait(&cond, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    CODE(error, ETIMEDOUT, "a thread made with none left times out");
    return NULL;
}

static void blocked_calls(void)
{
    char c;
    ssize_t n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    settle_by_time = true;
    exhaust();
    WHILE(send_byte, NULL, n = recv(pair[0], &c, 1, 0));
    EQUALS(n, 1, "recv waits and wakes");
    WHILE(send_byte, NULL, n = read(pair[0], &c, 1));
    EQUALS(n, 1, "read waits and wakes");
    finish(start(timed, NULL));
    net_timeout(pair[0], SO_RCVTIMEO, 30);
    int64_t began = moment();
    FAILS(recv(pair[0], &c, 1, 0), EAGAIN, "a time-out ends a wait");
    LASTED_TICKS(began, 30, "after its time");
    recover();
    settle_by_time = false;
    net_close(pair);
}

/* accept: the connection stays in the queue and comes when there is a number for it. */
static struct address where;
static int listener, clients[2];

static void connect_one(void *unused)
{
    (void)unused;
    MUST(connect(clients[0], &where.any, where.length));
}

static void accepting(void)
{
    int fd;
    listener = net_listen(AF_INET, SOCK_STREAM, 8, &where);
    clients[0] = MUST(socket(AF_INET, SOCK_STREAM, 0));
    clients[1] = net_connect(&where, SOCK_STREAM);
    settle_by_time = true;
    exhaust();
    FAILS(accept(listener, NULL, NULL), EMFILE, "accept with a connection there");
    FAILS(accept(listener, NULL, NULL), EMFILE, "again");
    close(taken[--taken_count]);
    fd = accept(listener, NULL, NULL);
    HOLDS(fd >= 0, "with a number for it the connection comes");
    MUST(send(clients[1], "x", 1, 0));
    char c;
    EQUALS(recv(fd, &c, 1, 0), 1, "and works");
    int late;
    WHILE(connect_one, NULL, late = accept(listener, NULL, NULL));
    FAILS(late, EMFILE, "accept with none left");
    taken[taken_count++] = fd;
    recover();
    settle_by_time = false;
    fd = accept(listener, NULL, NULL);
    HOLDS(fd >= 0, "afterwards that connection comes too");
    close(fd);
    close(clients[0]);
    close(clients[1]);
    close(listener);
}

/* Descriptors in a message that there are no numbers for are dropped, the data is not. */
static void passing(void)
{
    int to_send;
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte = 'p';
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = sizeof(control)};
    memset(&control, 0, sizeof(control));
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    to_send = MUST(open("/dev/null", O_RDONLY));
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    *c = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(c), &to_send, sizeof(int));
    MUST(sendmsg(pair[1], &header, 0));
    exhaust();
    header.msg_controllen = sizeof(control);
    EQUALS(recvmsg(pair[0], &header, 0), 1, "the byte comes");
    EQUALS(header.msg_flags & MSG_CTRUNC, MSG_CTRUNC, "the descriptor does not");
    recover();
    close(to_send);
    net_close(pair);
}

static const struct check checks[] = {CHECK(makers), CHECK(blocked_calls), CHECK(accepting),
                                      CHECK(passing)};

TICKING_MAIN(checks)
