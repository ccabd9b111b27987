/* Streams of the program's own (fopencookie) whose callbacks wait, and memory streams. */
#include "kit/expect.h"
#include "kit/threads.h"

struct cookie {
    int fd, closed;
    long calls;
};

static ssize_t cookie_read(void *arg, char *to, size_t size)
{
    struct cookie *cookie = arg;
    cookie->calls++;
    sleep_ms(2);
    return read(cookie->fd, to, size);
}

static ssize_t cookie_write(void *arg, const char *from, size_t size)
{
    struct cookie *cookie = arg;
    cookie->calls++;
    sleep_ms(2);
    return write(cookie->fd, from, size);
}

static int cookie_close(void *arg)
{
    struct cookie *cookie = arg;
    sleep_ms(2);
    cookie->closed++;
    return close(cookie->fd);
}

static const cookie_io_functions_t functions = {
    .read = cookie_read, .write = cookie_write, .close = cookie_close};

static void put(void *arg)
{
    MUST(write(*(int *)arg, "line\n", 5));
}

static void reading(void)
{
    int ends[2];
    char line[16];
    char *result;
    MUST(pipe(ends));
    struct cookie cookie = {.fd = ends[0]};
    FILE *in = fopencookie(&cookie, "r", functions);
    MUST_BE(in != NULL);
    WHILE(put, &ends[1], result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "line\n") == 0, "fgets waits in the callback");
    WHILE(put, &ends[1], result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "line\n") == 0, "again");
    close(ends[1]);
    EQUALS(fgetc(in), EOF, "the end");
    EQUALS(fclose(in), 0, "fclose");
    EQUALS(cookie.closed, 1, "closes it");
}

/* Two threads write lines to one cookie stream: the stream is held while its callback waits. */
static FILE *out;

static void *writer(void *arg)
{
    for (int i = 0; i < 10; i++)
        fprintf(out, "%s\n", (const char *)arg);
    return NULL;
}

static void writing(void)
{
    int ends[2], whole = 0;
    char line[16];
    MUST(pipe(ends));
    struct cookie cookie = {.fd = ends[1]};
    out = fopencookie(&cookie, "w", functions);
    setvbuf(out, NULL, _IOFBF, 16);
    pthread_t a = start(writer, "aaaaaaa"), b = start(writer, "bbbbbbb");
    finish(a);
    finish(b);
    EQUALS(fclose(out), 0, "fclose");
    EQUALS(cookie.closed, 1, "closes it");
    FILE *in = fdopen(ends[0], "r");
    while (fgets(line, sizeof(line), in) != NULL)
        whole += strcmp(line, "aaaaaaa\n") == 0 || strcmp(line, "bbbbbbb\n") == 0;
    EQUALS(whole, 20, "every line is whole");
    fclose(in);
}

/* A callback that takes the same stream's lock again, and one that prints to another stream. */
static FILE *self;

static ssize_t reentrant_write(void *arg, const char *from, size_t size)
{
    flockfile(self);
    sleep_ms(1);
    funlockfile(self);
    return write(*(int *)arg, from, size);
}

static void reentrant(void)
{
    int ends[2];
    char got[16];
    MUST(pipe(ends));
    self = fopencookie(&ends[1], "w", (cookie_io_functions_t){.write = reentrant_write});
    EQUALS(fputs("again", self) >= 0, 1, "fputs");
    EQUALS(fflush(self), 0, "fflush");
    EQUALS(read(ends[0], got, sizeof(got)), 5, "came through");
    EQUALS(fclose(self), 0, "fclose");
    close(ends[0]);
    close(ends[1]);
}

static void *memory_writer(void *arg)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    for (int i = 0; i < 100; i++) {
        fprintf(memory, "%ld", (long)arg);
        if (i % 10 == 0)
            sched_yield();
    }
    fclose(memory);
    bool right = size == 100;
    for (size_t i = 0; i < size; i++)
        right = right && text[i] == (char)('0' + (long)arg);
    free(text);
    return (void *)(long)right;
}

static void memory(void)
{
    pthread_t threads[5];
    long right = 0;
    for (long i = 0; i < 5; i++)
        threads[i] = start(memory_writer, (void *)i);
    for (int i = 0; i < 5; i++)
        right += (long)finish(threads[i]);
    EQUALS(right, 5, "memory streams of five threads");
}

static const struct check checks[] = {CHECK(reading), CHECK(writing), CHECK(reentrant),
                                      CHECK(memory)};

TICKING_MAIN(checks)
