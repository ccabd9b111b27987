/* dup, dup2, dup3 and F_DUPFD: numbers, flags, what is shared, errors and limits. */
#include <sys/resource.h>

#include "kit/expect.h"
#include "kit/threads.h"

static void numbers(void)
{
    int pipes[2];
    MUST(pipe2(pipes, O_CLOEXEC));
    int twin = dup(pipes[0]);
    HOLDS(twin > pipes[1], "dup takes the lowest free number");
    EQUALS(fcntl(twin, F_GETFD), 0, "without FD_CLOEXEC");
    int low = pipes[0];
    close(low);
    EQUALS(dup(twin), low, "a freed number is taken first");
    EQUALS(dup2(pipes[1], 200), 200, "dup2");
    EQUALS(fcntl(200, F_GETFD), 0, "without FD_CLOEXEC");
    EQUALS(dup2(pipes[1], pipes[1]), pipes[1], "dup2 to itself");
    EQUALS(fcntl(pipes[1], F_GETFD), FD_CLOEXEC, "changes nothing");
    EQUALS(dup3(pipes[1], 201, O_CLOEXEC), 201, "dup3");
    EQUALS(fcntl(201, F_GETFD), FD_CLOEXEC, "with FD_CLOEXEC");
    FAILS(dup3(pipes[1], pipes[1], 0), EINVAL, "dup3 to itself");
    FAILS(dup3(pipes[1], 202, O_NONBLOCK), EINVAL, "dup3, another flag");
    FAILS(dup2(pipes[1], -1), EBADF, "dup2 to -1");
    FAILS(dup3(pipes[1], -1, 0), EBADF, "dup3 to -1");
    EQUALS(fcntl(pipes[1], F_DUPFD, 202), 202, "F_DUPFD");
    EQUALS(fcntl(pipes[1], F_DUPFD, 202), 203, "the next free number");
    EQUALS(fcntl(pipes[1], F_DUPFD_CLOEXEC, 202), 204, "F_DUPFD_CLOEXEC");
    EQUALS(fcntl(204, F_GETFD), FD_CLOEXEC, "with FD_CLOEXEC");
    FAILS(fcntl(pipes[1], F_DUPFD, -1), EINVAL, "F_DUPFD from -1");
    close(pipes[1]);
    char c;
    for (int fd = 200; fd <= 204; fd++) {
        FAILS(dup2(fd, -1), EBADF, "each is open");
        close(fd);
    }
    EQUALS(read(twin, &c, 1), 0, "with the last writer the end comes");
    close(twin);
    close(low);
}

static void limits(void)
{
    struct rlimit old, limit;
    MUST(getrlimit(RLIMIT_NOFILE, &old));
    limit = (struct rlimit){300, old.rlim_max};
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    FAILS(dup2(STDOUT_FILENO, 300), EBADF, "dup2 to the limit");
    EQUALS(dup2(STDOUT_FILENO, 299), 299, "dup2 to the last number");
    FAILS(dup3(STDOUT_FILENO, 300, 0), EBADF, "dup3 to the limit");
    FAILS(fcntl(STDOUT_FILENO, F_DUPFD, 299), EMFILE, "F_DUPFD with none left");
    FAILS(fcntl(STDOUT_FILENO, F_DUPFD, 300), EINVAL, "F_DUPFD from the limit");
    int count = 0, fd, highest = 0;
    static int taken[300];
    while ((fd = dup(STDOUT_FILENO)) >= 0) {
        taken[count++] = fd;
        highest = fd;
    }
    EQUALS(errno, EMFILE, "dup ends with EMFILE");
    EQUALS(highest, 298, "when all numbers are taken");
    for (int i = 0; i < count; i++)
        close(taken[i]);
    close(299);
    MUST(setrlimit(RLIMIT_NOFILE, &old));
}

static void write_byte(void *arg)
{
    MUST(write(*(int *)arg, "x", 1));
}

static void shared(void)
{
    int pipes[2];
    char c;
    ssize_t n;
    MUST(pipe(pipes));
    int twin = MUST(dup(pipes[0]));
    MUST(fcntl(twin, F_SETFL, O_NONBLOCK));
    FAILS(read(pipes[0], &c, 1), EAGAIN, "O_NONBLOCK is shared");
    MUST(fcntl(pipes[0], F_SETFL, 0));
    WHILE(write_byte, &pipes[1], n = read(twin, &c, 1));
    EQUALS(n, 1, "a duplicate waits");
    close(pipes[0]);
    WHILE(write_byte, &pipes[1], n = read(twin, &c, 1));
    EQUALS(n, 1, "also when the first is closed");
    int high = MUST(fcntl(twin, F_DUPFD, 500));
    WHILE(write_byte, &pipes[1], n = read(high, &c, 1));
    EQUALS(n, 1, "and under a high number");
    close(high);
    int file = MUST(open("/proc/self/exe", O_RDONLY));
    int file_twin = MUST(dup(file));
    MUST(lseek(file, 7, SEEK_SET));
    EQUALS(lseek(file_twin, 0, SEEK_CUR), 7, "the offset is shared");
    close(file);
    close(file_twin);
    close(twin);
    close(pipes[1]);
}

/* dup2 over a pipe that somebody reads. */
struct waiter {
    int fd;
    char c;
    ssize_t result;
    struct sleeper sleeper;
};

static void *read_byte(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = read(waiter->fd, &waiter->c, 1);
    return NULL;
}

static void over_a_waiter(void)
{
    int old[2], new[2];
    MUST(pipe(old));
    MUST(pipe(new));
    struct waiter before = {.fd = old[0]}, after = {.fd = old[0]};
    pthread_t one = start(read_byte, &before);
    sleeper_settle(&before.sleeper);
    EQUALS(dup2(new[0], old[0]), old[0], "dup2 over a pipe that is read");
    pthread_t two = start(read_byte, &after);
    sleeper_settle(&after.sleeper);
    MUST(write(new[1], "n", 1));
    finish(two);
    EQUALS(after.result, 1, "a later reader reads the new one");
    EQUALS(after.c, 'n', "its byte");
    MUST(write(old[1], "o", 1));
    finish(one);
    EQUALS(before.result, 1, "the earlier reader reads the old one");
    EQUALS(before.c, 'o', "its byte");
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(old[1], "o", 1), EPIPE, "which then has no reader");
    close(old[0]);
    close(old[1]);
    close(new[0]);
    close(new[1]);
}

static const struct check checks[] = {CHECK(numbers), CHECK(limits), CHECK(shared),
                                      CHECK(over_a_waiter)};

TICKING_MAIN(checks)
