/* O_NONBLOCK never shows on pipes, FIFOs, terminals, eventfds, timerfds and the like while threads
 * are blocked in them: not here, and not in a child that was started without any preload. */
#include <pty.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { kinds = 8 };

extern char **environ;

static const char *const names[kinds] = {"pipe, reading", "pipe, writing", "FIFO",
                                         "terminal",      "its master",    "eventfd",
                                         "timerfd",       "eventfd, full"};
static int shared[kinds];
static atomic_int early;
static char block[100000];

/* The child: descriptors 20 and on are the shared ones; it looks for a while. */
static int innocent(void)
{
    if (getenv("LD_PRELOAD") != NULL)
        return 98;
    int64_t until = now_ns(CLOCK_MONOTONIC) + 150000000;
    do {
        for (int i = 0; i < 50; i++)
            for (int k = 0; k < kinds; k++)
                if (fcntl(20 + k, F_GETFL) & O_NONBLOCK)
                    return 1 + k;
        sched_yield();
    } while (now_ns(CLOCK_MONOTONIC) < until);
    return 0;
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

static void *reading(void *arg)
{
    char got[16];
    if (read(*(int *)arg, got, 8) <= 0)
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void *writing(void *arg)
{
    if (write(*(int *)arg, block, sizeof(block)) != (ssize_t)sizeof(block))
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void *adding(void *arg)
{
    uint64_t two = 2;
    if (write(*(int *)arg, &two, 8) != 8)
        atomic_fetch_add(&early, 1);
    return NULL;
}

static void while_blocked(void)
{
    int reads[2], writes[2], master, slave, other_master, other_slave, status = -1;
    char path[64];
    pthread_t threads[kinds];
    pid_t child;
    struct termios raw;
    snprintf(path, sizeof(path), "shared-fifo-%d", (int)getpid());
    MUST(mkfifo(path, 0600));
    MUST(pipe(reads));
    MUST(pipe(writes));
    int fifo = MUST(open(path, O_RDWR));
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    MUST(openpty(&other_master, &other_slave, NULL, NULL, NULL));
    MUST(tcgetattr(slave, &raw));
    cfmakeraw(&raw);
    MUST(tcsetattr(slave, TCSANOW, &raw));
    int event = MUST(eventfd(0, 0)), timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    int full = MUST(eventfd(0, 0));
    uint64_t most = UINT64_MAX - 1;
    MUST(write(full, &most, 8));
    int fds[kinds] = {reads[0], writes[1], fifo, slave, other_master, event, timer, full};
    void *(*const bodies[kinds])(void *) = {reading, writing, reading, reading,
                                            reading, reading, reading, adding};
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

    uint64_t one = 1, got;
    struct itimerspec soon = {{0, 0}, {0, 1000000}};
    MUST(write(reads[1], "x", 1));
    MUST(write(fifo, "x", 1));
    MUST(write(master, "x", 1));
    MUST(write(other_slave, "x", 1));
    MUST(write(event, &one, 8));
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    MUST(read(full, &got, 8));
    char part[65536];
    for (long left = (long)sizeof(block); left > 0;)
        left -= MUST_LONG(read(writes[0], part, sizeof(part)));
    for (int i = 0; i < kinds; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&early), 0, "every call came to its end");
    for (int i = 0; i < kinds; i++) {
        EQUALS(fcntl(shared[i], F_GETFL) & O_NONBLOCK, 0, names[i]);
        close(shared[i]);
    }
    close(reads[1]);
    close(writes[0]);
    close(master);
    close(other_slave);
    unlink(path);
}

static const struct check checks[] = {CHECK(while_blocked)};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "innocent") == 0)
        return innocent();
    ticker_start();
    int status = CHECKS_RUN(checks, argc, argv);
    ticker_stop();
    return status;
}
