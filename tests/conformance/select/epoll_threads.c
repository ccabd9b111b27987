/* Several threads wait in one epoll set, or in several sets on one descriptor: who is woken, and
 * that no event is lost or seen twice. */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { waiters = 5 };

static int set, sets[waiters], event;
static atomic_int woken, stopped;

/* Waits in the set; each wake counts, the number -1 ends it. */
static void *waiter(void *arg)
{
    int mine = *(int *)arg;
    for (;;) {
        struct epoll_event got;
        int n = epoll_wait(mine, &got, 1, -1);
        if (n == 1 && got.data.fd == -1) {
            atomic_fetch_add(&stopped, 1);
            return NULL;
        }
        if (n == 1)
            atomic_fetch_add(&woken, 1);
    }
}

/* An eventfd in the set that is ready for good: every waiter comes to it. */
static int stop_all(int where)
{
    int stop = MUST(eventfd(1, 0));
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = -1};
    MUST(epoll_ctl(where, EPOLL_CTL_ADD, stop, &wanted));
    return stop;
}

static bool reaches(atomic_int *count, int goal)
{
    for (int i = 0; i < 3000 && atomic_load(count) < goal; i++)
        sleep_ms(1);
    return atomic_load(count) == goal;
}

/* Edge-triggered: one event wakes one of the threads in a set. */
static void edge_wakes_one(void)
{
    pthread_t threads[waiters];
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLET};
    atomic_store(&woken, 0);
    set = MUST(epoll_create1(0));
    event = MUST(eventfd(0, 0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, event, &wanted));
    for (int i = 0; i < waiters; i++)
        threads[i] = start(waiter, &set);
    ticker_wait(15);
    for (int i = 1; i <= 10; i++) {
        MUST(eventfd_write(event, 1));
        HOLDS(reaches(&woken, i), "one event wakes a thread");
        ticker_wait(5);
        EQUALS(atomic_load(&woken), i, "and only one");
    }
    int stop = stop_all(set);
    for (int i = 0; i < waiters; i++)
        finish(threads[i]);
    close(stop);
    close(event);
    close(set);
}

/* One-shot: a work queue. Each connection is served by one thread at a time. */
enum { connections = 20, rounds = 10 };
static int ends[connections][2];
static atomic_int busy[connections], overlaps, served;

static void *worker(void *unused)
{
    (void)unused;
    for (;;) {
        struct epoll_event got;
        if (epoll_wait(set, &got, 1, -1) != 1)
            continue;
        int i = got.data.fd;
        if (i < 0)
            return NULL;
        if (atomic_exchange(&busy[i], 1) != 0)
            atomic_fetch_add(&overlaps, 1);
        char c = 0;
        if (recv(ends[i][0], &c, 1, 0) == 1 && send(ends[i][0], &c, 1, 0) == 1)
            atomic_fetch_add(&served, 1);
        atomic_store(&busy[i], 0);
        struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = i};
        MUST(epoll_ctl(set, EPOLL_CTL_MOD, ends[i][0], &again));
    }
}

static void *client(void *arg)
{
    int fd = *(int *)arg;
    long right = 0;
    for (int i = 0; i < rounds; i++) {
        char c = (char)('a' + i), back = 0;
        MUST(send(fd, &c, 1, 0));
        right += recv(fd, &back, 1, 0) == 1 && back == c;
    }
    return (void *)right;
}

static void one_shot_work(void)
{
    pthread_t threads[waiters], clients[connections];
    long right = 0;
    set = MUST(epoll_create1(0));
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = i};
        net_pair(AF_UNIX, SOCK_STREAM, ends[i]);
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[i][0], &wanted));
    }
    for (int i = 0; i < waiters; i++)
        threads[i] = start(worker, NULL);
    for (int i = 0; i < connections; i++)
        clients[i] = start(client, &ends[i][1]);
    for (int i = 0; i < connections; i++)
        right += (long)finish(clients[i]);
    EQUALS(right, connections * rounds, "every byte came back");
    EQUALS(atomic_load(&overlaps), 0, "no connection was served by two threads at once");
    int stop = stop_all(set);
    for (int i = 0; i < waiters; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&served), connections * rounds, "each request once");
    close(stop);
    close(set);
    for (int i = 0; i < connections; i++)
        net_close(ends[i]);
}

/* A set each, one descriptor in all of them: with EPOLLEXCLUSIVE at least one is woken, without
 * it all. */
static void a_set_each(void)
{
    pthread_t threads[waiters];
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        struct epoll_event wanted = {
            .events = EPOLLIN | EPOLLET | (exclusive ? (uint32_t)EPOLLEXCLUSIVE : 0)};
        int stops[waiters];
        atomic_store(&woken, 0);
        event = MUST(eventfd(0, 0));
        for (int i = 0; i < waiters; i++) {
            sets[i] = MUST(epoll_create1(0));
            MUST(epoll_ctl(sets[i], EPOLL_CTL_ADD, event, &wanted));
            threads[i] = start(waiter, &sets[i]);
        }
        ticker_wait(15);
        MUST(eventfd_write(event, 1));
        if (exclusive) {
            for (int i = 0; i < 3000 && atomic_load(&woken) == 0; i++)
                sleep_ms(1);
            HOLDS(atomic_load(&woken) >= 1, "EPOLLEXCLUSIVE wakes at least one");
        } else {
            HOLDS(reaches(&woken, waiters), "without it every set's thread is woken");
        }
        for (int i = 0; i < waiters; i++)
            stops[i] = stop_all(sets[i]);
        for (int i = 0; i < waiters; i++) {
            finish(threads[i]);
            close(stops[i]);
            close(sets[i]);
        }
        close(event);
    }
}

/* An event loop in each thread, woken by the others through an eventfd, as memcached's are. */
enum { loops = 4, hops = 100 };
static int loop_events[loops];
static atomic_int tokens;

static void *loop(void *arg)
{
    long self = (long)arg;
    int mine = MUST(epoll_create1(0));
    struct epoll_event wanted = {.events = EPOLLIN}, got;
    MUST(epoll_ctl(mine, EPOLL_CTL_ADD, loop_events[self], &wanted));
    for (;;) {
        eventfd_t count = 0;
        if (epoll_wait(mine, &got, 1, -1) != 1)
            continue;
        MUST(eventfd_read(loop_events[self], &count));
        int hop = atomic_fetch_add(&tokens, 1);
        MUST(eventfd_write(loop_events[(self + 1) % loops], 1));
        if (hop >= hops)
            break;
    }
    close(mine);
    return NULL;
}

static void ring_of_loops(void)
{
    pthread_t threads[loops];
    atomic_store(&tokens, 0);
    for (int i = 0; i < loops; i++)
        loop_events[i] = MUST(eventfd(0, EFD_NONBLOCK));
    for (long i = 0; i < loops; i++)
        threads[i] = start(loop, (void *)i);
    MUST(eventfd_write(loop_events[0], 1));
    for (int i = 0; i < loops; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&tokens), hops + loops, "the token went round");
    for (int i = 0; i < loops; i++)
        close(loop_events[i]);
}

static const struct check checks[] = {CHECK(edge_wakes_one), CHECK(one_shot_work),
                                      CHECK(a_set_each), CHECK(ring_of_loops)};

TICKING_MAIN(checks)
