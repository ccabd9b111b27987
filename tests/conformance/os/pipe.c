/* Pipes: every form of reading waits on an empty one and of writing on a full one; ends, signals
 * and lengths. */
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { capacity = 4096, big_size = 64 * 1024 };

static int ends[2];
static char block[big_size], sink[big_size];

static void pipe_make(void)
{
    MUST(pipe2(ends, O_CLOEXEC));
    MUST(fcntl(ends[1], F_SETPIPE_SZ, capacity));
}

static void pipe_drop(void)
{
    close(ends[0]);
    close(ends[1]);
}

/* Fills it to the last byte. */
static void pipe_fill(void)
{
    int full = MUST(fcntl(ends[1], F_GETPIPE_SZ));
    MUST(write(ends[1], block, (size_t)full));
}

static long by_read(char *to, size_t size)
{
    return read(ends[0], to, size);
}

static long by_readv(char *to, size_t size)
{
    struct iovec parts[3] = {{to, 1}, {to + 1, 0}, {to + 1, size - 1}};
    return readv(ends[0], parts, 3);
}

static long by_preadv2(char *to, size_t size)
{
    struct iovec part = {to, size};
    return preadv2(ends[0], &part, 1, -1, 0);
}

static long by_write(char *from, size_t size)
{
    return write(ends[1], from, size);
}

static long by_writev(char *from, size_t size)
{
    struct iovec parts[3] = {{from, 1}, {from + 1, 0}, {from + 1, size - 1}};
    return writev(ends[1], parts, 3);
}

static long by_pwritev2(char *from, size_t size)
{
    struct iovec part = {from, size};
    return pwritev2(ends[1], &part, 1, -1, 0);
}

struct form {
    const char *name;
    long (*call)(char *data, size_t size);
};

static const struct form readers[] = {{"read", by_read}, {"readv", by_readv},
                                      {"preadv2 at -1", by_preadv2}};
static const struct form writers[] = {{"write", by_write}, {"writev", by_writev},
                                      {"pwritev2 at -1", by_pwritev2}};

static void write_word(void *unused)
{
    (void)unused;
    MUST(write(ends[1], "word", 4));
}

static void close_writer(void *unused)
{
    (void)unused;
    close(ends[1]);
}

static void close_reader(void *unused)
{
    (void)unused;
    close(ends[0]);
}

struct draining {
    long length;
    bool right;
};

/* Drops what filled the pipe, then compares. */
static void drain(void *arg)
{
    struct draining *draining = arg;
    long skip = capacity, seen = 0;
    draining->right = true;
    while (seen < draining->length) {
        ssize_t n = read(ends[0], sink, skip > 0 ? (size_t)skip : sizeof(sink));
        if (n <= 0)
            break;
        if (skip > 0) {
            skip -= n;
            continue;
        }
        if (memcmp(sink, block + seen, (size_t)n) != 0)
            draining->right = false;
        seen += n;
    }
    draining->right = draining->right && seen == draining->length;
}

static void reading(void)
{
    for (size_t f = 0; f < sizeof(readers) / sizeof(*readers); f++) {
        char got[16] = "";
        long n;
        check_current = readers[f].name;
        pipe_make();
        WHILE(write_word, NULL, n = readers[f].call(got, sizeof(got)));
        EQUALS(n, 4, "waits for data");
        BYTES(got, "word", 4, "and gets it");
        write_word(NULL);
        EQUALS(readers[f].call(got, 2), 2, "a part");
        EQUALS(readers[f].call(got, sizeof(got)), 2, "and the rest");
        signal_catch(SIGUSR1, 0);
        KICKED(SIGUSR1, n = readers[f].call(got, sizeof(got)));
        FAILS(n, EINTR, "a signal interrupts it");
        MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK));
        FAILS(readers[f].call(got, sizeof(got)), EAGAIN, "O_NONBLOCK");
        MUST(fcntl(ends[0], F_SETFL, 0));
        WHILE(close_writer, NULL, n = readers[f].call(got, sizeof(got)));
        EQUALS(n, 0, "the last writer closes");
        EQUALS(readers[f].call(got, sizeof(got)), 0, "again");
        close(ends[0]);
    }
}

static void writing(void)
{
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + (i >> 8));
    for (size_t f = 0; f < sizeof(writers) / sizeof(*writers); f++) {
        long n;
        check_current = writers[f].name;
        pipe_make();
        pipe_fill();
        struct draining draining = {big_size, false};
        WHILE(drain, &draining, n = writers[f].call(block, big_size));
        EQUALS(n, big_size, "waits for room and writes all");
        HOLDS(draining.right, "in order");
        EQUALS(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
        pipe_fill();
        signal_catch(SIGUSR1, 0);
        KICKED(SIGUSR1, n = writers[f].call(block, big_size));
        FAILS(n, EINTR, "a signal interrupts it");
        MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
        FAILS(writers[f].call(block, 10), EAGAIN, "O_NONBLOCK");
        MUST(read(ends[0], sink, capacity));
        n = writers[f].call(block, big_size);
        EQUALS(n, capacity, "O_NONBLOCK writes what fits");
        MUST(fcntl(ends[1], F_SETFL, 0));
        signal_catch(SIGPIPE, 0);
        signal_count = 0;
        WHILE(close_reader, NULL, n = writers[f].call(block, 10));
        FAILS(n, EPIPE, "the last reader closes");
        EQUALS(signal_count, 1, "with SIGPIPE");
        HOLDS(pthread_equal(signal_thread, pthread_self()), "for this thread");
        FAILS(writers[f].call(block, 10), EPIPE, "again");
        EQUALS(signal_count, 2, "again");
        signal(SIGPIPE, SIG_IGN);
        FAILS(writers[f].call(block, 10), EPIPE, "SIGPIPE ignored");
        close(ends[1]);
    }
}

/* A write that has begun and is interrupted tells how far it came. */
static void take_some_then_signal(void *arg)
{
    MUST(read(ends[0], sink, capacity));
    ticker_wait(10);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
}

static void partial(void)
{
    pthread_t self = pthread_self();
    long n;
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        pipe_make();
        signal_catch(SIGUSR1, flags);
        WHILE(take_some_then_signal, &self, n = write(ends[1], block, big_size));
        HOLDS(n >= capacity && n < big_size && n % capacity == 0,
              "a signal gives the part that was written");
        pipe_drop();
    }
    signal(SIGPIPE, SIG_IGN);
    pipe_make();
    WHILE(close_reader, NULL, n = write(ends[1], block, big_size));
    EQUALS(n, capacity, "so does a reader that goes");
    close(ends[1]);
}

static void restart(void)
{
    char c;
    pipe_make();
    signal_catch(SIGUSR1, SA_RESTART);
    signal_count = 0;
    struct kicker kicker;
    kicker_start(&kicker, SIGUSR1);
    struct later later;
    later_start(&later, write_word, NULL);
    long n = read(ends[0], &c, 1);
    kicker_stop(&kicker);
    later_join(&later);
    EQUALS(n, 1, "SA_RESTART goes on reading");
    pipe_drop();
}

static void lengths(void)
{
    char c;
    pipe_make();
    EQUALS(read(ends[0], &c, 0), 0, "read of 0 bytes does not wait");
    EQUALS(readv(ends[0], NULL, 0), 0, "readv of nothing neither");
    EQUALS(write(ends[1], &c, 0), 0, "write of 0 bytes");
    FAILS(read(ends[1], &c, 1), EBADF, "read from the wrong end");
    FAILS(write(ends[0], &c, 1), EBADF, "write to the wrong end");
    FAILS(pread(ends[0], &c, 1, 0), ESPIPE, "pread");
    FAILS(pwrite(ends[1], &c, 1, 0), ESPIPE, "pwrite");
    FAILS(lseek(ends[0], 0, SEEK_CUR), ESPIPE, "lseek");
    struct iovec part = {&c, 1};
    FAILS(preadv(ends[0], &part, 1, 0), ESPIPE, "preadv");
    FAILS(preadv2(ends[0], &part, 1, 0, 0), ESPIPE, "preadv2 at 0");
    pipe_fill();
    EQUALS(write(ends[1], &c, 0), 0, "write of 0 bytes to a full one does not wait");
    int waiting = 0;
    EQUALS(ioctl(ends[0], FIONREAD, &waiting), 0, "FIONREAD");
    EQUALS(waiting, capacity, "counts");
    pipe_drop();
}

/* Packets (O_DIRECT). */
static void packets(void)
{
    char got[16];
    MUST(pipe2(ends, O_DIRECT));
    MUST(write(ends[1], "ab", 2));
    MUST(write(ends[1], "cd", 2));
    EQUALS(read(ends[0], got, sizeof(got)), 2, "one packet at a time");
    EQUALS(read(ends[0], got, 1), 1, "a part of a packet");
    long n;
    WHILE(write_word, NULL, n = read(ends[0], got, sizeof(got)));
    EQUALS(n, 4, "drops the rest of it");
    pipe_drop();
}

static void flags(void)
{
    FAILS(pipe2(ends, 0x1), EINVAL, "an unknown flag");
    FAILS(pipe(bad_pointer), EFAULT, "a bad address");
    EQUALS(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0, "O_NONBLOCK and O_CLOEXEC");
    for (int i = 0; i < 2; i++) {
        EQUALS(fcntl(ends[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK, "O_NONBLOCK");
        EQUALS(fcntl(ends[i], F_GETFD), FD_CLOEXEC, "FD_CLOEXEC");
    }
    char c;
    FAILS(read(ends[0], &c, 1), EAGAIN, "does not wait");
    pipe_drop();
    EQUALS(pipe(ends), 0, "without flags");
    for (int i = 0; i < 2; i++) {
        EQUALS(fcntl(ends[i], F_GETFL) & O_NONBLOCK, 0, "no O_NONBLOCK");
        EQUALS(fcntl(ends[i], F_GETFD), 0, "no FD_CLOEXEC");
    }
    pipe_drop();
}

static const struct check checks[] = {CHECK(reading), CHECK(writing), CHECK(partial),
                                      CHECK(restart), CHECK(lengths), CHECK(packets),
                                      CHECK(flags)};

TICKING_MAIN(checks)
