/* Everything that a program does after it has closed each descriptor it does not know: threads,
 * sockets, pipes, timers, time-outs, epoll, stdio, a child. */
#pragma once

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kit/net.h"
#include "kit/threads.h"

static struct address going_where;
static int going_listener;

static void *going_serve(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        char line[32];
        int fd = accept(going_listener, NULL, NULL);
        if (fd < 0)
            return (void *)1;
        ssize_t n = recv(fd, line, sizeof(line), 0);
        if (n > 0)
            send(fd, line, (size_t)n, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void *going_ask(void *unused)
{
    long right = 0;
    (void)unused;
    for (int i = 0; i < 10; i++) {
        char line[32] = "";
        int fd = net_connect(&going_where, SOCK_STREAM);
        right += send(fd, "going on", 8, 0) == 8 &&
                 recv(fd, line, sizeof(line), MSG_WAITALL) == 8 && memcmp(line, "going on", 8) == 0;
        close(fd);
    }
    return (void *)right;
}

static void *going_write(void *arg)
{
    sleep_ms(20);
    MUST(write(*(int *)arg, "x", 1));
    return NULL;
}

/* Checks all of that; leaves no descriptor behind. */
KIT_UNUSED static void going_on(void)
{
    pthread_t threads[3];
    going_listener = net_listen(AF_INET, SOCK_STREAM, 16, &going_where);
    threads[0] = start(going_serve, NULL);
    threads[1] = start(going_ask, NULL);
    threads[2] = start(going_ask, NULL);
    EQUALS((long)finish(threads[1]) + (long)finish(threads[2]), 20, "connections work");
    EQUALS((long)finish(threads[0]), 0, "the server too");
    close(going_listener);

    int pipes[2], status = -1;
    char c = 0;
    MUST(pipe(pipes));
    threads[0] = start(going_write, &pipes[1]);
    EQUALS(read(pipes[0], &c, 1), 1, "a pipe is waited for");
    finish(threads[0]);
    int64_t began = moment();
    sleep_ms(20);
    LASTED(began, 20, "sleep sleeps");
    int set = MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pipes[0], &event));
    EQUALS(epoll_wait(set, &event, 1, 10), 0, "epoll times out");
    threads[0] = start(going_write, &pipes[1]);
    EQUALS(epoll_wait(set, &event, 1, 4000), 1, "epoll is woken");
    finish(threads[0]);
    close(set);
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(read(pipes[0], &c, 1) == 1 && c == 'x' ? 5 : 6);
    MUST(waitpid(child, &status, 0));
    EXPECT_EXITS(status, 5);
    close(pipes[0]);
    close(pipes[1]);
}
