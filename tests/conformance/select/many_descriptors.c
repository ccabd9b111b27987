/* 2,000 descriptors in one poll, select, epoll set, and 200 threads that each poll ten. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { many = 2000, words = 4096 / 64 };

static int events[many];
static struct pollfd fds[many];

static void make(void)
{
    for (int i = 0; i < many; i++) {
        events[i] = MUST(eventfd(0, EFD_NONBLOCK));
        fds[i] = (struct pollfd){events[i], POLLIN, 0};
    }
}

static void drop(void)
{
    for (int i = 0; i < many; i++)
        close(events[i]);
}

static void set_one(void *arg)
{
    MUST(eventfd_write(events[*(int *)arg], 1));
}

static void clear(int i)
{
    eventfd_t value;
    MUST(eventfd_read(events[i], &value));
}

static void by_poll(void)
{
    make();
    int64_t began = moment();
    EQUALS(poll(fds, many, 30), 0, "nothing");
    LASTED(began, 30, "after its time");
    for (int i = 0; i < many; i += 397) {
        int n;
        WHILE(set_one, &i, n = poll(fds, many, 4000));
        EQUALS(n, 1, "one of many");
        EQUALS(fds[i].revents, POLLIN, "the right one");
        clear(i);
    }
    for (int i = 0; i < many; i++)
        set_one(&i);
    EQUALS(poll(fds, many, 4000), many, "all of them");
    for (int i = 0; i < many; i++)
        clear(i);
    EQUALS(poll(fds, many, 0), 0, "none again");
    for (int i = 0; i < many; i += 2)
        fds[i].events = POLLRDHUP | POLLPRI;
    int odd = 1777, n;
    WHILE(set_one, &odd, n = poll(fds, many, 4000));
    EQUALS(n, 1, "with other masks beside");
    EQUALS(fds[odd].revents, POLLIN, "the right one");
    drop();
}

static void by_select(void)
{
    unsigned long in[words];
    int n, last;
    make();
    last = events[many - 1];
    HOLDS(last < 4096, "the set is large enough");
    for (int i = 0; i < many; i += 463) {
        struct timeval limit = {4, 0};
        memset(in, 0, sizeof(in));
        for (int k = 0; k < many; k++)
            in[events[k] / 64] |= 1UL << (events[k] % 64);
        WHILE(set_one, &i, n = select(last + 1, (fd_set *)in, NULL, NULL, &limit));
        EQUALS(n, 1, "one of many");
        HOLDS(in[events[i] / 64] == 1UL << (events[i] % 64), "the right one");
        clear(i);
    }
    drop();
}

static void by_epoll(void)
{
    static struct epoll_event got[many];
    int set = MUST(epoll_create1(0)), n;
    make();
    for (int i = 0; i < many; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = i};
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, events[i], &wanted));
    }
    for (int i = 0; i < many; i += 397) {
        WHILE(set_one, &i, n = epoll_wait(set, got, many, 4000));
        EQUALS(n, 1, "one of many");
        EQUALS(got[0].data.fd, i, "the right one");
        clear(i);
    }
    for (int i = 0; i < many; i++)
        set_one(&i);
    EQUALS(epoll_wait(set, got, many, 4000), many, "all of them");
    drop();
    EQUALS(epoll_wait(set, got, many, 0), 0, "closed ones leave the set");
    close(set);
}

/* Every thread polls ten of its own; one of them is set for each. */
enum { threads = 200, each = 10 };

static void *poll_ten(void *arg)
{
    long first = (long)arg * each;
    int n = poll(&fds[first], each, 10000);
    return (void *)(long)(n == 1 && fds[first + (long)arg % each].revents == POLLIN);
}

static void by_many_threads(void)
{
    pthread_t t[threads];
    pthread_attr_t attr;
    long right = 0;
    make();
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    for (long i = 0; i < threads; i++)
        MUST_BE(pthread_create(&t[i], &attr, poll_ten, (void *)i) == 0);
    ticker_wait(10);
    for (int i = threads - 1; i >= 0; i--) {
        int which = i * each + i % each;
        set_one(&which);
    }
    for (int i = 0; i < threads; i++)
        right += (long)finish(t[i]);
    EQUALS(right, threads, "each was told of its own");
    pthread_attr_destroy(&attr);
    drop();
}

/* Two hundred threads wait for the same ten descriptors: one event wakes them all. */
static void *poll_same(void *unused)
{
    struct pollfd same[each];
    (void)unused;
    memcpy(same, fds, sizeof(same));
    return (void *)(long)(poll(same, each, 10000) == 1 && same[7].revents == POLLIN);
}

static void all_for_the_same(void)
{
    pthread_t t[threads];
    long right = 0;
    int which = 7;
    make();
    for (long i = 0; i < threads; i++)
        t[i] = start(poll_same, NULL);
    ticker_wait(10);
    set_one(&which);
    for (int i = 0; i < threads; i++)
        right += (long)finish(t[i]);
    EQUALS(right, threads, "each was told");
    drop();
}

static const struct check checks[] = {CHECK(by_poll), CHECK(by_select), CHECK(by_epoll),
                                      CHECK(by_many_threads), CHECK(all_for_the_same)};

TICKING_MAIN(checks)
