/* close: twice, under a waiter on pipes, eventfds and FIFOs, and the number's next life. */
#include <sys/eventfd.h>

#include "kit/expect.h"
#include "kit/threads.h"

struct waiter {
    int fd;
    char data[16];
    size_t size;
    ssize_t result;
    int error;
    struct sleeper sleeper;
};

static void *read_it(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = read(waiter->fd, waiter->data, waiter->size);
    waiter->error = errno;
    return NULL;
}

static char block[100000];

static void *write_it(void *arg)
{
    struct waiter *waiter = arg;
    sleeper_here(&waiter->sleeper);
    waiter->result = write(waiter->fd, block, sizeof(block));
    waiter->error = errno;
    return NULL;
}

static void twice(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    EQUALS(close(pipes[0]), 0, "close");
    FAILS(close(pipes[0]), EBADF, "again");
    EQUALS(close(pipes[1]), 0, "the other end");
    FAILS(close(pipes[1]), EBADF, "again");
    FAILS(close(-1), EBADF, "descriptor -1");
}

static void under_a_reader(void)
{
    int pipes[2], other[2];
    char got[8];
    MUST(pipe(pipes));
    struct waiter waiter = {.fd = pipes[0], .size = 16};
    pthread_t thread = start(read_it, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(pipes[0]), 0, "close the reading end under a reader");
    FAILS(read(pipes[0], got, 1), EBADF, "the number is free");
    MUST(pipe(other));
    EQUALS(other[0], pipes[0], "and is taken again");
    MUST(write(other[1], "other", 5));
    ticker_wait(10);
    EQUALS(read(other[0], got, 8), 5, "by a pipe whose data nobody stole");
    signal(SIGPIPE, SIG_IGN);
    EQUALS(write(pipes[1], "late", 4), 4, "the writer still has a reader");
    finish(thread);
    EQUALS(waiter.result, 4, "who gets the data");
    FAILS(write(pipes[1], "x", 1), EPIPE, "and then is gone");
    close(pipes[1]);
    close(other[0]);
    close(other[1]);
}

static void under_a_writer(void)
{
    int pipes[2];
    static char sink[200000];
    MUST(pipe(pipes));
    struct waiter waiter = {.fd = pipes[1]};
    pthread_t thread = start(write_it, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(pipes[1]), 0, "close the writing end under a writer");
    FAILS(write(pipes[1], "x", 1), EBADF, "the number is free");
    size_t seen = 0;
    ssize_t n;
    while ((n = read(pipes[0], sink, sizeof(sink))) > 0)
        seen += (size_t)n;
    EQUALS(n, 0, "the reader comes to an end of file");
    EQUALS(seen, sizeof(block), "after all the data");
    finish(thread);
    EQUALS(waiter.result, sizeof(block), "the writer wrote all");
    close(pipes[0]);
}

static void under_an_eventfd_reader(void)
{
    int event = MUST(eventfd(0, 0)), twin = MUST(dup(event));
    struct waiter waiter = {.fd = event, .size = 8};
    pthread_t thread = start(read_it, &waiter);
    sleeper_settle(&waiter.sleeper);
    EQUALS(close(event), 0, "close under a reader");
    uint64_t seven = 7, got = 0;
    ticker_wait(10);
    EQUALS(write(twin, &seven, 8), 8, "add through a duplicate");
    finish(thread);
    EQUALS(waiter.result, 8, "wakes the reader");
    memcpy(&got, waiter.data, 8);
    EQUALS(got, 7, "with the count");
    close(twin);
}

/* The other end closes while one's own number is closed too. */
static void both_ends(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    struct waiter waiter = {.fd = pipes[0], .size = 16};
    pthread_t thread = start(read_it, &waiter);
    sleeper_settle(&waiter.sleeper);
    close(pipes[0]);
    ticker_wait(5);
    close(pipes[1]);
    finish(thread);
    EQUALS(waiter.result, 0, "the reader sees the end");
}

/* Threads close what others have just opened numbers of: every close is of one's own. */
enum { closers = 6, rounds = 300 };

static void *open_and_close(void *unused)
{
    long failures = 0;
    (void)unused;
    for (int i = 0; i < rounds; i++) {
        int pipes[2];
        char c = 0;
        if (pipe(pipes) != 0)
            return (void *)-1L;
        failures += write(pipes[1], "x", 1) != 1 || read(pipes[0], &c, 1) != 1 || c != 'x';
        failures += close(pipes[0]) != 0;
        failures += close(pipes[1]) != 0;
    }
    return (void *)failures;
}

static void many_at_once(void)
{
    pthread_t threads[closers];
    for (int i = 0; i < closers; i++)
        threads[i] = start(open_and_close, NULL);
    for (int i = 0; i < closers; i++)
        EQUALS((long)finish(threads[i]), 0, "every pipe carried its byte and closed once");
}

static const struct check checks[] = {
    CHECK(twice), CHECK(under_a_reader), CHECK(under_a_writer), CHECK(under_an_eventfd_reader),
    CHECK(both_ends), CHECK(many_at_once),
};

TICKING_MAIN(checks)
