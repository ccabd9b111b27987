/* No descriptor is left behind by anything that a program does and undoes: the numbers that it
 * gets at the end are those that it got at the start. */
#include <poll.h>
#include <sys/select.h>
#include <sys/wait.h>

#include "kit/going_on.h"

/* The lowest number that is free, and how many are open below 256, seen without making any. */
static int open_below_256(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void check_same(void (*work)(void))
{
    work();
    int before = open_below_256();
    int first = MUST(dup(STDOUT_FILENO));
    close(first);
    for (int i = 0; i < 3; i++)
        work();
    EQUALS(open_below_256(), before, "as many are open as before");
    int last = MUST(dup(STDOUT_FILENO));
    close(last);
    EQUALS(last, first, "and the same number is free");
}

static void everything(void)
{
    settle_by_time = true;
    check_same(going_on);
}

static void *poller(void *arg)
{
    struct pollfd wait = {*(int *)arg, POLLIN | POLLRDHUP | POLLPRI, 0};
    poll(&wait, 1, 10);
    fd_set set, except;
    FD_ZERO(&set);
    FD_SET(*(int *)arg, &set);
    except = set;
    struct timeval limit = {0, 10000};
    select(*(int *)arg + 1, &set, NULL, &except, &limit);
    return NULL;
}

static void poll_work(void)
{
    int pair[2];
    pthread_t threads[20];
    net_pair(AF_INET, SOCK_STREAM, pair);
    for (int i = 0; i < 20; i++)
        threads[i] = start(poller, &pair[0]);
    for (int i = 0; i < 20; i++)
        finish(threads[i]);
    net_close(pair);
}

static void polling(void)
{
    check_same(poll_work);
}

static void *wait_and_end(void *arg)
{
    char c;
    recv(*(int *)arg, &c, 1, 0);
    return NULL;
}

static void thread_work(void)
{
    int pair[2];
    pthread_t threads[50];
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    for (int i = 0; i < 50; i++)
        threads[i] = start(wait_and_end, &pair[0]);
    MUST(shutdown(pair[0], SHUT_RDWR));
    for (int i = 0; i < 50; i++)
        finish(threads[i]);
    net_close(pair);
}

static void waiting_threads(void)
{
    check_same(thread_work);
}

/* What a child inherits through exec is what the program left open, and nothing else. */
static void inherited(void)
{
    int pipes[2], status = -1;
    char got[64] = "";
    MUST(pipe(pipes));
    fflush(stdout);
    pid_t child = MUST(fork());
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        unsetenv("LD_PRELOAD");
        execl("/bin/sh", "sh", "-c",
              "for f in 0 1 2 3 4 5 6 7 8 9; do if test -e /proc/$$/fd/$f; then printf $f; fi; done",
              (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(pipes[0], got + length, sizeof(got) - 1 - length)) > 0)
        length += (size_t)n;
    close(pipes[0]);
    MUST(waitpid(child, &status, 0));
    EXPECT_EXITS(status, 0);
    BYTES(got, "012", 4, "standard input, output and error");
}

static const struct check checks[] = {CHECK(everything), CHECK(polling), CHECK(waiting_threads),
                                      CHECK(inherited)};

TICKING_MAIN(checks)
