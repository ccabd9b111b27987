/* flockfile held across blocking calls: others wait for the stream, and only they. */
#include "kit/expect.h"
#include "kit/threads.h"

static int ends[2];
static FILE *out;
static atomic_int stage;

static void open_stream(void)
{
    MUST(pipe(ends));
    out = fdopen(ends[1], "w");
    MUST_BE(out != NULL);
    atomic_store(&stage, 0);
}

static void close_stream(void)
{
    fclose(out);
    close(ends[0]);
}

static void *print_other(void *unused)
{
    (void)unused;
    atomic_store(&stage, 1);
    fprintf(out, "other\n");
    atomic_store(&stage, 2);
    return NULL;
}

/* The holder sleeps, reads and yields while it holds the stream. */
static void held(void)
{
    char got[64] = "";
    open_stream();
    flockfile(out);
    fprintf(out, "first ");
    pthread_t thread = start(print_other, NULL);
    for (int i = 0; i < 2000 && atomic_load(&stage) == 0; i++)
        sleep_ms(1);
    ticker_wait(20);
    EQUALS(atomic_load(&stage), 1, "another thread waits for the stream");
    sched_yield();
    flockfile(out);
    fprintf(out, "second ");
    funlockfile(out);
    ticker_wait(10);
    EQUALS(atomic_load(&stage), 1, "also after an inner lock was released");
    fprintf(out, "third\n");
    funlockfile(out);
    finish(thread);
    EQUALS(atomic_load(&stage), 2, "then it goes on");
    fflush(out);
    EQUALS(read(ends[0], got, sizeof(got)), 25, "all came");
    BYTES(got, "first second third\nother\n", 25, "in order");
    close_stream();
}

static void *try_lock(void *unused)
{
    (void)unused;
    int taken = ftrylockfile(out);
    if (taken == 0)
        funlockfile(out);
    return (void *)(long)taken;
}

static void try_form(void)
{
    open_stream();
    EQUALS((long)finish(start(try_lock, NULL)), 0, "ftrylockfile of a free stream");
    flockfile(out);
    EQUALS(ftrylockfile(out), 0, "the owner may lock again");
    HOLDS((long)finish(start(try_lock, NULL)) != 0, "another thread may not");
    funlockfile(out);
    HOLDS((long)finish(start(try_lock, NULL)) != 0, "until it is free");
    funlockfile(out);
    EQUALS((long)finish(start(try_lock, NULL)), 0, "then it may");
    close_stream();
}

/* A reader that waits for data holds its stream: flockfile waits for the data too; streams that
 * are not its own go on. */
static FILE *in;

static void *read_line(void *unused)
{
    char line[32];
    (void)unused;
    atomic_store(&stage, 1);
    bool right = fgets(line, sizeof(line), in) != NULL && strcmp(line, "line\n") == 0;
    return (void *)(long)right;
}

static void *lock_input(void *unused)
{
    (void)unused;
    flockfile(in);
    atomic_store(&stage, 2);
    funlockfile(in);
    return NULL;
}

static void reader_holds(void)
{
    open_stream();
    in = fdopen(ends[0], "r");
    pthread_t reader = start(read_line, NULL);
    for (int i = 0; i < 2000 && atomic_load(&stage) == 0; i++)
        sleep_ms(1);
    ticker_wait(20);
    HOLDS(ftrylockfile(in) != 0, "a blocked reader holds its stream");
    pthread_t locker = start(lock_input, NULL);
    ticker_wait(20);
    EQUALS(atomic_load(&stage), 1, "flockfile waits for it");
    EQUALS(fprintf(out, "line\n"), 5, "another stream is free");
    EQUALS(fflush(out), 0, "and can be flushed");
    EQUALS((long)finish(reader), 1, "the reader gets its line");
    finish(locker);
    EQUALS(atomic_load(&stage), 2, "then flockfile goes on");
    fclose(out);
    fclose(in);
}

/* The lock is fair enough: nobody starves beside a thread that locks again at once. */
static atomic_bool done;
static atomic_int turns;

static void *greedy(void *unused)
{
    (void)unused;
    while (!atomic_load(&done)) {
        flockfile(out);
        sched_yield();
        funlockfile(out);
        sched_yield();
    }
    return NULL;
}

static void *modest(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        flockfile(out);
        atomic_fetch_add(&turns, 1);
        funlockfile(out);
    }
    return NULL;
}

static void nobody_starves(void)
{
    open_stream();
    atomic_store(&done, false);
    atomic_store(&turns, 0);
    pthread_t thread = start(greedy, NULL), other = start(modest, NULL);
    finish(other);
    atomic_store(&done, true);
    finish(thread);
    EQUALS(atomic_load(&turns), 20, "the modest one got its turns");
    close_stream();
}

/* __fsetlocking and unlocked forms under one's own lock. */
static void unlocked_forms(void)
{
    char got[32];
    open_stream();
    flockfile(out);
    EQUALS(putc_unlocked('a', out), 'a', "putc_unlocked");
    EQUALS(fputc_unlocked('b', out), 'b', "fputc_unlocked");
    HOLDS(fputs_unlocked("cd", out) >= 0, "fputs_unlocked");
    EQUALS(fwrite_unlocked("ef", 1, 2, out), 2, "fwrite_unlocked");
    EQUALS(fflush_unlocked(out), 0, "fflush_unlocked");
    EQUALS(ferror_unlocked(out), 0, "ferror_unlocked");
    EQUALS(feof_unlocked(out), 0, "feof_unlocked");
    HOLDS(fileno_unlocked(out) == ends[1], "fileno_unlocked");
    clearerr_unlocked(out);
    funlockfile(out);
    EQUALS(read(ends[0], got, sizeof(got)), 6, "all came");
    BYTES(got, "abcdef", 6, "in order");
    close_stream();
}

static const struct check checks[] = {CHECK(held), CHECK(try_form), CHECK(reader_holds),
                                      CHECK(nobody_starves), CHECK(unlocked_forms)};

TICKING_MAIN(checks)
