/* Streams that are opened, used and closed by many threads, files among them; fflush(NULL) and
 * fclose beside streams that others wait in. */
#include "kit/expect.h"
#include "kit/threads.h"

enum { workers = 8, rounds = 20 };

static void *file_worker(void *arg)
{
    long right = 0;
    char path[64], line[64], want[64];
    snprintf(path, sizeof(path), "stream-%d-%ld", (int)getpid(), (long)arg);
    for (int i = 0; i < rounds; i++) {
        snprintf(want, sizeof(want), "worker %ld round %d\n", (long)arg, i);
        FILE *file = fopen(path, "w+");
        if (file == NULL)
            return (void *)-1L;
        fputs(want, file);
        sched_yield();
        rewind(file);
        right += fgets(line, sizeof(line), file) != NULL && strcmp(line, want) == 0;
        right += fseek(file, 7, SEEK_SET) == 0 && ftell(file) == 7;
        right += fgetc(file) == '0' + (int)(long)arg;
        fclose(file);
    }
    unlink(path);
    return (void *)right;
}

static void files(void)
{
    pthread_t threads[workers];
    for (long i = 0; i < workers; i++)
        threads[i] = start(file_worker, (void *)i);
    for (int i = 0; i < workers; i++)
        EQUALS((long)finish(threads[i]), rounds * 3, "every line was read back");
}

/* A thread waits in a stream; others flush all streams: that waits for it natively, as it takes
 * each stream's lock, and ends when the line has come. */
static int ends[2];
static FILE *in;
static atomic_int flushed;

static void *flush_all(void *unused)
{
    (void)unused;
    EQUALS(fflush(NULL), 0, "fflush of all streams");
    atomic_fetch_add(&flushed, 1);
    return NULL;
}

static void start_flush_then_put(void *arg)
{
    *(pthread_t *)arg = start(flush_all, NULL);
    ticker_wait(10);
    MUST(write(ends[1], "line\n", 5));
}

static void flush_beside_a_reader(void)
{
    char line[16];
    char *result;
    pthread_t flusher;
    MUST(pipe(ends));
    in = fdopen(ends[0], "r");
    WHILE(start_flush_then_put, &flusher, result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "line\n") == 0, "the reader gets its line");
    finish(flusher);
    EQUALS(atomic_load(&flushed), 1, "and the flush ends");
    fclose(in);
    close(ends[1]);
}

/* New streams can be opened and closed while one is waited in. */
static void use_others_then_put(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        FILE *file = fopen("/dev/null", "w");
        fprintf(file, "%d", i);
        fclose(file);
    }
    FILE *temporary = tmpfile();
    fputs("temporary", temporary);
    fclose(temporary);
    MUST(write(ends[1], "line\n", 5));
}

static void open_beside_a_reader(void)
{
    char line[16];
    char *result;
    MUST(pipe(ends));
    in = fdopen(ends[0], "r");
    WHILE(use_others_then_put, NULL, result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "line\n") == 0, "the reader gets its line");
    fclose(in);
    close(ends[1]);
}

/* freopen, setvbuf, fileno, dup'ed streams. */
static void others(void)
{
    char path[64], got[32] = "";
    snprintf(path, sizeof(path), "reopened-%d", (int)getpid());
    FILE *file = fopen("/dev/null", "w");
    file = freopen(path, "w+", file);
    MUST_BE(file != NULL);
    EQUALS(fputs("reopened", file) >= 0, 1, "freopen");
    EQUALS(fflush(file), 0, "fflush");
    EQUALS(pread(fileno(file), got, sizeof(got), 0), 8, "is in the file");
    EQUALS(fclose(file), 0, "fclose");
    unlink(path);
    HOLDS(fopen("no/such/file", "r") == NULL && errno == ENOENT, "fopen of nothing");
    HOLDS(fopen(".", "w") == NULL && errno == EISDIR, "fopen of a directory");
    HOLDS(fdopen(12345, "r") == NULL && errno == EBADF, "fdopen of a closed descriptor");
}

static const struct check checks[] = {CHECK(files), CHECK(flush_beside_a_reader),
                                      CHECK(open_beside_a_reader), CHECK(others)};

TICKING_MAIN(checks)
