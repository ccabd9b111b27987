/* FIFOs: open waits for the other side, and what reading and writing do when sides come and go. */
#include <poll.h>
#include <sys/stat.h>

#include "kit/expect.h"
#include "kit/threads.h"

static char path[128];

static void fifo_make(void)
{
    static int serial;
    snprintf(path, sizeof(path), "fifo-%d-%d", (int)getpid(), serial++);
    MUST(mkfifo(path, 0600));
}

struct opening {
    int flags, fd;
};

static void open_side(void *arg)
{
    struct opening *opening = arg;
    opening->fd = MUST(open(path, opening->flags));
}

static void open_waits(void)
{
    int fd;
    fifo_make();
    struct opening other = {O_WRONLY, -1};
    WHILE(open_side, &other, fd = open(path, O_RDONLY | O_CLOEXEC));
    HOLDS(fd >= 0, "open for reading waits for a writer");
    EQUALS(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY, "its flags");
    EQUALS(fcntl(fd, F_GETFD), FD_CLOEXEC, "its descriptor flags");
    close(fd);
    close(other.fd);
    other.flags = O_RDONLY;
    WHILE(open_side, &other, fd = open(path, O_WRONLY));
    HOLDS(fd >= 0, "open for writing waits for a reader");
    EQUALS(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY, "its flags");
    close(fd);
    close(other.fd);
    other.flags = O_RDWR;
    WHILE(open_side, &other, fd = open(path, O_WRONLY));
    HOLDS(fd >= 0, "somebody who opens for both counts as a reader");
    close(fd);
    close(other.fd);
    other.flags = O_WRONLY;
    WHILE(open_side, &other, fd = openat(AT_FDCWD, path, O_RDONLY));
    HOLDS(fd >= 0, "openat waits too");
    close(fd);
    close(other.fd);
    unlink(path);
}

static void open_does_not_wait(void)
{
    char c;
    fifo_make();
    FAILS(open(path, O_WRONLY | O_NONBLOCK), ENXIO, "O_NONBLOCK for writing without a reader");
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    HOLDS(reader >= 0, "O_NONBLOCK for reading does not wait");
    EQUALS(read(reader, &c, 1), 0, "without a writer it reads an end of file");
    int writer = open(path, O_WRONLY | O_NONBLOCK);
    HOLDS(writer >= 0, "O_NONBLOCK for writing with a reader");
    FAILS(read(reader, &c, 1), EAGAIN, "with a writer it says EAGAIN");
    close(writer);
    EQUALS(read(reader, &c, 1), 0, "and an end of file again");
    close(reader);
    int both = open(path, O_RDWR);
    HOLDS(both >= 0, "O_RDWR never waits");
    EQUALS(write(both, "x", 1), 1, "writes");
    EQUALS(read(both, &c, 1), 1, "and reads");
    close(both);
    unlink(path);
}

static void open_interrupted(void)
{
    int fd;
    fifo_make();
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, fd = open(path, O_RDONLY));
    FAILS(fd, EINTR, "a signal interrupts open for reading");
    KICKED(SIGUSR1, fd = open(path, O_WRONLY));
    FAILS(fd, EINTR, "and for writing");
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    struct kicker kicker;
    kicker_start(&kicker, SIGUSR1);
    struct opening other = {O_WRONLY, -1};
    WHILE(open_side, &other, fd = open(path, O_RDONLY));
    kicker_stop(&kicker);
    HOLDS(fd >= 0, "SA_RESTART goes on with it");
    close(fd);
    close(other.fd);
    unlink(path);
}

/* Several threads open both sides at once: each finds a partner. */
static void *open_and_write(void *unused)
{
    (void)unused;
    int fd = open(path, O_WRONLY);
    long n = write(fd, "w", 1);
    close(fd);
    return (void *)n;
}

static void several(void)
{
    enum { writers = 5 };
    pthread_t threads[writers];
    char got[writers];
    fifo_make();
    for (int i = 0; i < writers; i++)
        threads[i] = start(open_and_write, NULL);
    ticker_wait(10);
    int both = MUST(open(path, O_RDWR));
    for (int i = 0; i < writers; i++)
        EQUALS(read(both, &got[i], 1), 1, "a byte from each writer");
    for (int i = 0; i < writers; i++)
        EQUALS((long)finish(threads[i]), 1, "each writer wrote");
    close(both);
    unlink(path);
}

static int writer;

static void write_word(void *unused)
{
    (void)unused;
    MUST(write(writer, "word", 4));
}

static void close_writer(void *unused)
{
    (void)unused;
    close(writer);
}

static void transfers(void)
{
    char got[16];
    ssize_t n;
    fifo_make();
    struct opening other = {O_RDONLY, -1};
    WHILE(open_side, &other, writer = open(path, O_WRONLY));
    int reader = other.fd;
    WHILE(write_word, NULL, n = read(reader, got, sizeof(got)));
    EQUALS(n, 4, "read waits for data");
    WHILE(close_writer, NULL, n = read(reader, got, sizeof(got)));
    EQUALS(n, 0, "read ends when the last writer closes");
    EQUALS(read(reader, got, sizeof(got)), 0, "again");
    writer = MUST(open(path, O_WRONLY));
    WHILE(write_word, NULL, n = read(reader, got, sizeof(got)));
    EQUALS(n, 4, "a new writer revives it");
    EQUALS(fcntl(reader, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = read(reader, got, sizeof(got)));
    FAILS(n, EINTR, "a signal interrupts read");
    struct pollfd wait = {reader, POLLIN, 0};
    int ready;
    WHILE(close_writer, NULL, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll sees the writer go");
    EQUALS(wait.revents, POLLHUP, "POLLHUP alone");
    writer = MUST(open(path, O_WRONLY | O_NONBLOCK));
    close(reader);
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(writer, "x", 1), EPIPE, "write without a reader");
    close(writer);
    unlink(path);
}

static int reader_fd;

static void drain(void *unused)
{
    char part[4096];
    (void)unused;
    for (long left = 64 * 1024 + 100000; left > 0;) {
        ssize_t n = read(reader_fd, part, sizeof(part));
        if (n <= 0)
            return;
        left -= n;
    }
}

static void full(void)
{
    static char block[100000];
    fifo_make();
    reader_fd = MUST(open(path, O_RDONLY | O_NONBLOCK));
    writer = MUST(open(path, O_WRONLY));
    MUST(fcntl(reader_fd, F_SETFL, 0));
    MUST(write(writer, block, 64 * 1024));
    ssize_t n;
    WHILE(drain, NULL, n = write(writer, block, sizeof(block)));
    EQUALS(n, sizeof(block), "write waits for room");
    EQUALS(fcntl(writer, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    close(writer);
    close(reader_fd);
    unlink(path);
}

static const struct check checks[] = {
    CHECK(open_waits), CHECK(open_does_not_wait), CHECK(open_interrupted),
    CHECK(several),    CHECK(transfers),          CHECK(full),
};

TICKING_MAIN(checks)
