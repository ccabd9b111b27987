/* Writes of up to PIPE_BUF bytes from several threads and processes never mix in a pipe, though
 * the pipe is nearly always full. */
#include <limits.h>
#include <sys/wait.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { writers = 5, rounds = 120 };

static int ends[2];

/* Each record: its length in two bytes, the writer's letter, then that letter to the end. */
static void *writer(void *arg)
{
    char letter = (char)('a' + (long)arg);
    static _Thread_local char record[PIPE_BUF];
    for (int i = 0; i < rounds; i++) {
        size_t size = (size_t)(3 + (i * 997 + (long)arg * 131) % (PIPE_BUF - 2));
        if (i % 7 == 0)
            size = PIPE_BUF;
        memset(record, letter, size);
        record[0] = (char)(size & 0xff);
        record[1] = (char)(size >> 8);
        if (write(ends[1], record, size) != (ssize_t)size)
            return (void *)1;
    }
    return NULL;
}

static bool read_exactly(char *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(ends[0], to + done, size - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static long count_whole(long expected)
{
    char record[PIPE_BUF];
    long whole = 0;
    for (long i = 0; i < expected; i++) {
        if (!read_exactly(record, 2))
            break;
        size_t size = (size_t)(unsigned char)record[0] | (size_t)(unsigned char)record[1] << 8;
        if (size < 3 || size > PIPE_BUF || !read_exactly(record + 2, size - 2))
            break;
        bool same = true;
        for (size_t k = 3; k < size; k++)
            same = same && record[k] == record[2];
        whole += same;
    }
    return whole;
}

static void threads(void)
{
    pthread_t t[writers];
    MUST(pipe(ends));
    for (long i = 0; i < writers; i++)
        t[i] = start(writer, (void *)i);
    EQUALS(count_whole(writers * rounds), writers * rounds, "every record is whole");
    for (int i = 0; i < writers; i++)
        EQUALS((long)finish(t[i]), 0, "every write wrote all");
    close(ends[0]);
    close(ends[1]);
}

static void processes(void)
{
    pid_t children[2];
    MUST(pipe(ends));
    for (long i = 0; i < 2; i++) {
        children[i] = MUST(fork());
        if (children[i] == 0) {
            pthread_t a = start(writer, (void *)(2 * i)), b = start(writer, (void *)(2 * i + 1));
            _exit(finish(a) == NULL && finish(b) == NULL ? 0 : 1);
        }
    }
    EQUALS(count_whole(4 * rounds), 4 * rounds, "every record is whole");
    for (int i = 0; i < 2; i++) {
        int status = -1;
        MUST(waitpid(children[i], &status, 0));
        EXPECT_EXITS(status, 0);
    }
    close(ends[0]);
    close(ends[1]);
}

static const struct check checks[] = {CHECK(threads), CHECK(processes)};

TICKING_MAIN(checks)
