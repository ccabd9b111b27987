/* A listener shared by forked workers, each with threads of its own: all connections are served,
 * by threads of the child, and the parent goes on as well. */
#include <sys/wait.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { workers = 3, threads_each = 3, requests = 120 };

static struct address where;
static int listener;

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        char command = 0;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        while (recv(fd, &command, 1, 0) == 1) {
            if (command == 'q')
                _exit(7);
            pid_t self = getpid();
            send(fd, &self, sizeof(self), MSG_NOSIGNAL);
        }
        close(fd);
    }
}

static int worker(void)
{
    pthread_t threads[threads_each];
    for (int i = 0; i < threads_each; i++)
        threads[i] = start(serve, NULL);
    for (int i = 0; i < threads_each; i++)
        finish(threads[i]);
    return 1;
}

static atomic_int answered;

static void *ask(void *unused)
{
    (void)unused;
    for (int i = 0; i < requests / 4; i++) {
        pid_t who = 0;
        int fd = net_connect(&where, SOCK_STREAM);
        MUST(send(fd, "?", 1, 0));
        if (recv(fd, &who, sizeof(who), MSG_WAITALL) == sizeof(who) && who != getpid())
            atomic_fetch_add(&answered, 1);
        close(fd);
    }
    return NULL;
}

static void check_family(int family)
{
    pid_t children[workers];
    pthread_t threads[4];
    listener = net_listen(family, SOCK_STREAM, 64, &where);
    atomic_store(&answered, 0);
    for (int i = 0; i < workers; i++) {
        children[i] = MUST(fork());
        if (children[i] == 0)
            _exit(worker());
    }
    for (int i = 0; i < 4; i++)
        threads[i] = start(ask, NULL);
    for (int i = 0; i < 4; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&answered), requests, "every request was answered by a child");
    int ended = 0;
    for (int i = 0; i < workers; i++) {
        int fd = net_connect(&where, SOCK_STREAM), status = -1;
        MUST(send(fd, "q", 1, 0));
        char c;
        EQUALS(recv(fd, &c, 1, 0), 0, "a child that ends closes its connection");
        close(fd);
        MUST(waitpid(-1, &status, 0));
        ended += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    EQUALS(ended, workers, "every child ended as told");
    close(listener);
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
