/* fcntl and ioctl: flags as the program sets them, also while another thread is blocked. */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kit/expect.h"
#include "kit/threads.h"

static void status_flags(void)
{
    int pipes[2], on = 1, off = 0;
    char c;
    MUST(pipe(pipes));
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY, "the reading end");
    EQUALS(fcntl(pipes[1], F_GETFL), O_WRONLY, "the writing end");
    EQUALS(fcntl(pipes[0], F_SETFL, O_NONBLOCK | O_ASYNC), 0, "set");
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY | O_NONBLOCK | O_ASYNC, "get");
    FAILS(read(pipes[0], &c, 1), EAGAIN, "honoured");
    EQUALS(fcntl(pipes[0], F_SETFL, 0), 0, "clear");
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY, "get");
    EQUALS(ioctl(pipes[0], FIONBIO, &on), 0, "FIONBIO on");
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY | O_NONBLOCK, "is O_NONBLOCK");
    FAILS(read(pipes[0], &c, 1), EAGAIN, "honoured");
    EQUALS(ioctl(pipes[0], FIONBIO, &off), 0, "FIONBIO off");
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY, "is none");
    FAILS(ioctl(pipes[0], FIONBIO, bad_pointer), EFAULT, "FIONBIO, a bad address");
    EQUALS(ioctl(pipes[0], FIOCLEX), 0, "FIOCLEX");
    EQUALS(fcntl(pipes[0], F_GETFD), FD_CLOEXEC, "is FD_CLOEXEC");
    EQUALS(ioctl(pipes[0], FIONCLEX), 0, "FIONCLEX");
    EQUALS(fcntl(pipes[0], F_GETFD), 0, "is none");
    EQUALS(fcntl(pipes[0], F_SETFD, FD_CLOEXEC), 0, "F_SETFD");
    EQUALS(fcntl(pipes[0], F_GETFD), FD_CLOEXEC, "F_GETFD");
    FAILS(fcntl(pipes[0], 9999), EINVAL, "an unknown command");
    FAILS(ioctl(pipes[0], 0x12345678, &on), ENOTTY, "an unknown request");
    MUST(write(pipes[1], "abc", 3));
    int waiting = 0;
    EQUALS(ioctl(pipes[0], FIONREAD, &waiting), 0, "FIONREAD");
    EQUALS(waiting, 3, "counts");
    EQUALS(fcntl(pipes[0], F_SETPIPE_SZ, 8192), 8192, "F_SETPIPE_SZ");
    EQUALS(fcntl(pipes[1], F_GETPIPE_SZ), 8192, "F_GETPIPE_SZ");
    FAILS(fcntl(pipes[0], F_SETLK, bad_pointer), EFAULT, "F_SETLK, a bad address");
    close(pipes[0]);
    close(pipes[1]);
}

static void toggle_then_write(void *arg)
{
    int *pair = arg, on = 1;
    for (int i = 0; i < 5; i++) {
        char c;
        if (i % 2 == 0)
            MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
        else
            MUST(ioctl(pair[0], FIONBIO, &on));
        FAILS(read(pair[0], &c, 1), EAGAIN, "another thread's read fails at once");
        ticker_wait(2);
        MUST(fcntl(pair[0], F_SETFL, 0));
        ticker_wait(2);
    }
    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    MUST(write(pair[1], "x", 1));
}

/* A call that waits already goes on waiting whatever the flag becomes. */
static void under_a_reader(void)
{
    int pair[2];
    char c = 0;
    ssize_t n;
    MUST(pipe(pair));
    WHILE(toggle_then_write, pair, n = read(pair[0], &c, 1));
    EQUALS(n, 1, "a blocked read of a pipe gets its byte");
    FAILS(read(pair[0], &c, 1), EAGAIN, "the next one does not wait");
    close(pair[0]);
    close(pair[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    WHILE(toggle_then_write, pair, n = read(pair[0], &c, 1));
    EQUALS(n, 1, "a blocked read of a socket gets its byte");
    FAILS(read(pair[0], &c, 1), EAGAIN, "the next one does not wait");
    close(pair[0]);
    close(pair[1]);
}

static int full[2];
static char block[100000], sink[200000];

static void toggle_then_drain(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5; i++) {
        MUST(fcntl(full[1], F_SETFL, O_NONBLOCK));
        FAILS(write(full[1], "x", 1), EAGAIN, "another thread's write fails at once");
        ticker_wait(2);
        MUST(fcntl(full[1], F_SETFL, 0));
        ticker_wait(2);
    }
    for (size_t seen = 0; seen < 65536 + sizeof(block);)
        seen += (size_t)MUST_LONG(read(full[0], sink, sizeof(sink)));
}

static void under_a_writer(void)
{
    ssize_t n;
    MUST(pipe(full));
    MUST(write(full[1], block, 65536));
    WHILE(toggle_then_drain, NULL, n = write(full[1], block, sizeof(block)));
    EQUALS(n, sizeof(block), "a blocked write writes all");
    close(full[0]);
    close(full[1]);
}

/* A read that began without waiting is not turned into a waiting one, nor the other way round:
 * what counts is the flag at the start of each call. */
static atomic_bool ends;

static void *flip(void *arg)
{
    int fd = *(int *)arg;
    while (!atomic_load(&ends)) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        sched_yield();
        fcntl(fd, F_SETFL, 0);
        sched_yield();
    }
    fcntl(fd, F_SETFL, 0);
    return NULL;
}

static void flipping(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    atomic_store(&ends, false);
    pthread_t thread = start(flip, &pipes[0]);
    int right = 0;
    for (int i = 0; i < 300; i++) {
        char c = 0;
        MUST(write(pipes[1], "x", 1));
        ssize_t n;
        do {
            n = read(pipes[0], &c, 1);
        } while (n == -1 && errno == EAGAIN);
        right += n == 1 && c == 'x';
    }
    atomic_store(&ends, true);
    finish(thread);
    EQUALS(right, 300, "every byte comes while the flag flips");
    EQUALS(fcntl(pipes[0], F_GETFL), O_RDONLY, "and the flag ends as set last");
    close(pipes[0]);
    close(pipes[1]);
}

static const struct check checks[] = {CHECK(status_flags), CHECK(under_a_reader),
                                      CHECK(under_a_writer), CHECK(flipping)};

TICKING_MAIN(checks)
