/* Threads that print lines to one stream never mix inside a line, though the stream's pipe is
 * nearly always full and writers wait in the middle of one; and none waits for good. */
#include "kit/expect.h"
#include "kit/threads.h"

enum { writers = 6, rounds = 40, length = 700 };

static int ends[2];
static FILE *out;
static int way;

static void *writer(void *arg)
{
    char letter = (char)('a' + (long)arg), line[length + 2];
    memset(line, letter, length);
    line[length] = '\n';
    line[length + 1] = '\0';
    for (int i = 0; i < rounds; i++) {
        switch (way) {
        case 0:
            fprintf(out, "%.300s%s", line, line + 300);
            break;
        case 1:
            fputs(line, out);
            break;
        case 2:
            fwrite(line, 1, length + 1, out);
            break;
        default:
            flockfile(out);
            for (int k = 0; k <= length; k++)
                putc_unlocked(line[k], out);
            funlockfile(out);
        }
        if (i % 8 == 0)
            fflush(out);
    }
    return NULL;
}

static void *reader(void *unused)
{
    FILE *in = fdopen(ends[0], "r");
    char line[length + 8];
    long whole = 0;
    (void)unused;
    while (fgets(line, sizeof(line), in) != NULL) {
        bool same = strlen(line) == length + 1 && line[length] == '\n';
        for (int k = 0; k < length && same; k++)
            same = line[k] == line[0];
        whole += same;
    }
    fclose(in);
    return (void *)whole;
}

static void check_lines(int how, int mode, size_t buffer)
{
    pthread_t threads[writers];
    way = how;
    MUST(pipe(ends));
    MUST(fcntl(ends[1], F_SETPIPE_SZ, 4096));
    out = fdopen(ends[1], "w");
    setvbuf(out, NULL, mode, buffer);
    pthread_t read_thread = start(reader, NULL);
    for (long i = 0; i < writers; i++)
        threads[i] = start(writer, (void *)i);
    for (int i = 0; i < writers; i++)
        finish(threads[i]);
    fclose(out);
    EQUALS((long)finish(read_thread), writers * rounds, "every line is whole");
}

static void check_modes(int how)
{
    check_lines(how, _IOFBF, 4096);
    check_lines(how, _IOLBF, 1024);
    check_lines(how, _IOFBF, 128);
}

static void by_fprintf(void)
{
    check_modes(0);
    check_lines(0, _IONBF, 0);
}

static void by_fputs(void)
{
    check_modes(1);
}

static void by_fwrite(void)
{
    check_modes(2);
}

static void by_flockfile(void)
{
    check_modes(3);
}

/* Readers of one stream: no line is torn or lost. */
enum { readers = 4, lines_sent = 400 };
static atomic_int seen[lines_sent];
static FILE *shared;

static void *line_reader(void *unused)
{
    char line[64];
    long count = 0;
    (void)unused;
    while (fgets(line, sizeof(line), shared) != NULL) {
        int number = -1;
        char tail[8] = "";
        if (sscanf(line, "line %d %7s", &number, tail) == 2 && strcmp(tail, "end") == 0 &&
            number >= 0 && number < lines_sent && atomic_fetch_add(&seen[number], 1) == 0)
            count++;
    }
    return (void *)count;
}

static void several_readers(void)
{
    pthread_t threads[readers];
    long total = 0;
    MUST(pipe(ends));
    shared = fdopen(ends[0], "r");
    for (int i = 0; i < readers; i++)
        threads[i] = start(line_reader, NULL);
    for (int i = 0; i < lines_sent; i++) {
        dprintf(ends[1], "line %d ", i);
        if (i % 40 == 0)
            ticker_wait(1);
        dprintf(ends[1], "end\n");
    }
    close(ends[1]);
    for (int i = 0; i < readers; i++)
        total += (long)finish(threads[i]);
    EQUALS(total, lines_sent, "every line was read once");
    fclose(shared);
}

static const struct check checks[] = {CHECK(by_fprintf), CHECK(by_fputs), CHECK(by_fwrite),
                                      CHECK(by_flockfile), CHECK(several_readers)};

TICKING_MAIN(checks)
