/* O_NONBLOCK belongs to the program: while threads are blocked in read, recv, accept, connect and
 * the rest, nobody who shares the descriptions ever sees the flag, neither in this process nor in
 * an innocent child that was started without any preload. */
#include <spawn.h>
#include <sys/wait.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { kinds = 9 };

extern char **environ;

static int shared[kinds];
static const char *const names[kinds] = {"pipe to read", "pipe to write",   "tcp to read",
                                         "tcp to write", "unix to connect", "listener",
                                         "unix to read", "udp to read",     "unix listener"};
static atomic_int early;

/* Whether the flag shows on any of these; the first one that does, or -1. */
static int looking(int first, int count, int ms)
{
    int64_t until = now_ns(CLOCK_MONOTONIC) + ms * 1000000LL;
    do {
        for (int i = 0; i < 50; i++)
            for (int fd = first; fd < first + count; fd++)
                if (fcntl(fd, F_GETFL) & O_NONBLOCK)
                    return fd - first;
        sched_yield();
    } while (now_ns(CLOCK_MONOTONIC) < until);
    return -1;
}

/* The child: descriptors 20 and on are the shared ones; it looks for a while. */
static int innocent(void)
{
    if (getenv("LD_PRELOAD") != NULL)
        return 98;
    int found = looking(20, kinds, 150);
    return found < 0 ? 0 : 1 + found;
}

static struct address where, local;
static char block[1 << 20];

static void *reading(void *arg)
{
    int fd = *(int *)arg;
    char c = 0;
    ssize_t n = read(fd, &c, 1);
    if (n != 1)
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void *receiving(void *arg)
{
    char c = 0;
    if (recv(*(int *)arg, &c, 1, 0) != 1)
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void *writing(void *arg)
{
    if (write(*(int *)arg, block, sizeof(block)) != (ssize_t)sizeof(block))
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void *accepting(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    if (fd < 0)
        atomic_fetch_add(&early, 1);
    close(fd);
    return NULL;
}

static void *connecting(void *arg)
{
    if (connect(*(int *)arg, &local.any, local.length) != 0)
        atomic_fetch_add(&early, 1);
    return NULL;
}

/* Traffic on descriptors that are shared all the while, so that calls go in and out of waits. */
static atomic_bool traffic_ends;

static void *traffic(void *arg)
{
    int *pair = arg;
    char c = 't';
    while (!atomic_load(&traffic_ends)) {
        if (send(pair[1], &c, 1, 0) != 1 || recv(pair[0], &c, 1, 0) != 1)
            atomic_fetch_add(&early, 1);
    }
    return NULL;
}

static void *traffic_echo(void *arg)
{
    int *pair = arg;
    char c;
    while (recv(pair[1], &c, 1, 0) == 1)
        if (send(pair[1], &c, 1, 0) != 1)
            break;
    return NULL;
}

static int start_child(pid_t *child)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {"innocent", "innocent", NULL}, *envp[64];
    int n = 0;
    for (char **e = environ; *e != NULL && n < 63; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11) != 0 && strncmp(*e, "GREEN_", 6) != 0)
            envp[n++] = *e;
    envp[n] = NULL;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < kinds; i++)
        posix_spawn_file_actions_adddup2(&actions, shared[i], 20 + i);
    int error = posix_spawn(child, "/proc/self/exe", &actions, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void while_blocked(void)
{
    int reads[2], writes[2], tcp_in[2], tcp_out[2], in[2], udp[2], status = -1;
    pthread_t threads[kinds];
    pid_t child;
    struct address elsewhere;
    MUST(pipe(reads));
    MUST(pipe(writes));
    net_pair(AF_INET, SOCK_STREAM, tcp_in);
    net_pair(AF_INET, SOCK_STREAM, tcp_out);
    net_pair(AF_UNIX, SOCK_STREAM, in);
    net_pair(AF_INET, SOCK_DGRAM, udp);
    int listener = net_listen(AF_INET, SOCK_STREAM, 4, &where);
    int local_listener = net_listen(AF_UNIX, SOCK_STREAM, 0, &local);
    int other_listener = net_listen(AF_UNIX, SOCK_STREAM, 0, &elsewhere);
    int first = net_connect(&local, SOCK_STREAM);
    int last = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    int fds[kinds] = {reads[0], writes[1], tcp_in[0], tcp_out[0], last,
                      listener, in[0],     udp[0],    other_listener};
    void *(*const bodies[kinds])(void *) = {reading,   writing,   receiving, writing,  connecting,
                                            accepting, receiving, receiving, accepting};
    atomic_store(&early, 0);
    memcpy(shared, fds, sizeof(fds));
    for (int i = 0; i < kinds; i++)
        threads[i] = start(bodies[i], &shared[i]);
    ticker_wait(20);
    CODE(start_child(&child), 0, "start a child without preload");
    int found = -1;
    for (int i = 0; i < 100 && found < 0; i++) {
        for (int k = 0; k < kinds; k++)
            if (fcntl(shared[k], F_GETFL) & O_NONBLOCK)
                found = k;
        sleep_ms(1);
    }
    HOLDS(found < 0, found < 0 ? "flag" : names[found]);
    EQUALS(waitpid(child, &status, 0), child, "wait for the child");
    int seen = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
    HOLDS(seen == 0, seen == 0 ? "child" : seen <= kinds ? names[seen - 1] : "child's trouble");
    EQUALS(atomic_load(&early), 0, "nobody's call came back early");

    MUST(write(reads[1], "x", 1));
    MUST(send(tcp_in[1], "x", 1, 0));
    MUST(send(in[1], "x", 1, 0));
    MUST(send(udp[1], "x", 1, 0));
    close(net_connect(&where, SOCK_STREAM));
    close(net_connect(&elsewhere, SOCK_STREAM));
    close(MUST(accept(local_listener, NULL, NULL)));
    net_drain(tcp_out[1], (long)sizeof(block));
    char part[65536];
    for (long left = (long)sizeof(block); left > 0;)
        left -= MUST_LONG(read(writes[0], part, sizeof(part)));
    for (int i = 0; i < kinds; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&early), 0, "every call came to its end");
    for (int i = 0; i < kinds; i++)
        EQUALS(fcntl(shared[i], F_GETFL) & O_NONBLOCK, 0, names[i]);
    close(first);
    close(last);
    close(listener);
    close(local_listener);
    close(other_listener);
    net_close(reads);
    net_close(writes);
    net_close(tcp_in);
    net_close(tcp_out);
    net_close(in);
    net_close(udp);
}

/* The same with calls that come and go: no moment shows it. */
static void under_traffic(void)
{
    int pair[2], status = -1;
    pthread_t threads[2];
    pid_t child;
    atomic_store(&early, 0);
    net_pair(AF_INET, SOCK_STREAM, pair);
    int forward[2] = {pair[0], pair[0]}, backward[2] = {pair[1], pair[1]};
    for (int i = 0; i < kinds; i++)
        shared[i] = pair[i % 2];
    atomic_store(&traffic_ends, false);
    threads[0] = start(traffic, forward);
    threads[1] = start(traffic_echo, backward);
    CODE(start_child(&child), 0, "start a child without preload");
    EQUALS(waitpid(child, &status, 0), child, "wait for the child");
    EQUALS(WIFEXITED(status) ? WEXITSTATUS(status) : 99, 0, "it never saw the flag");
    atomic_store(&traffic_ends, true);
    finish(threads[0]);
    MUST(shutdown(pair[0], SHUT_WR));
    finish(threads[1]);
    EQUALS(atomic_load(&early), 0, "no call failed");
    net_close(pair);
}

static const struct check checks[] = {CHECK(while_blocked), CHECK(under_traffic)};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "innocent") == 0)
        return innocent();
    ticker_start();
    int status = CHECKS_RUN(checks, argc, argv);
    ticker_stop();
    return status;
}
