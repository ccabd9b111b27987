/* A thread-per-connection echo server and 500 clients, a thread each, in one process. Where the
 * runner limits the OS threads, this is what it looks at. */
#include "kit/net.h"
#include "kit/threads.h"

enum { connections = 500, rounds = 8 };

static struct address where;
static atomic_int open_now, most_open;
static pthread_barrier_t all_connected;

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    char line[64];
    ssize_t n;
    int now = atomic_fetch_add(&open_now, 1) + 1, most = atomic_load(&most_open);
    while (now > most && !atomic_compare_exchange_weak(&most_open, &most, now))
        continue;
    while ((n = recv(fd, line, sizeof(line), 0)) > 0)
        if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
            break;
    atomic_fetch_sub(&open_now, 1);
    close(fd);
    return NULL;
}

static void *acceptor(void *arg)
{
    int listener = *(int *)arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0)
            break;
        if (pthread_create(&thread, &attr, serve, (void *)(long)fd) != 0)
            close(fd);
    }
    pthread_attr_destroy(&attr);
    return NULL;
}

static void *client(void *arg)
{
    long right = 0;
    int fd = net_connect(&where, SOCK_STREAM);
    pthread_barrier_wait(&all_connected);
    for (int i = 0; i < rounds; i++) {
        char line[64], got[64];
        int n = snprintf(line, sizeof(line), "client %ld says %d", (long)arg, i);
        if (send(fd, line, (size_t)n, MSG_NOSIGNAL) == n &&
            recv(fd, got, (size_t)n, MSG_WAITALL) == n && memcmp(line, got, (size_t)n) == 0)
            right++;
    }
    pthread_barrier_wait(&all_connected);
    close(fd);
    return (void *)right;
}

static void check_family(int family)
{
    static pthread_t threads[connections];
    pthread_attr_t attr;
    int listener = net_listen(family, SOCK_STREAM, connections, &where);
    long right = 0;
    atomic_store(&most_open, 0);
    pthread_t acceptor_thread = start(acceptor, &listener);
    pthread_barrier_init(&all_connected, NULL, connections);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    for (long i = 0; i < connections; i++)
        MUST_BE(pthread_create(&threads[i], &attr, client, (void *)i) == 0);
    for (int i = 0; i < connections; i++)
        right += (long)finish(threads[i]);
    EQUALS(right, connections * rounds, "every line came back");
    EQUALS(atomic_load(&most_open), connections, "all connections were open at once");
    for (int i = 0; i < 4000 && atomic_load(&open_now) > 0; i++)
        sleep_ms(1);
    EQUALS(atomic_load(&open_now), 0, "every server thread saw its client's end");
    MUST(shutdown(listener, SHUT_RDWR));
    finish(acceptor_thread);
    close(listener);
    pthread_attr_destroy(&attr);
    pthread_barrier_destroy(&all_connected);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(local)};

TICKING_MAIN(checks)
