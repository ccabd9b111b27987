/* Every way of writing a stream waits while the pipe is full and other threads run, and all of it
 * arrives in order; fflush and fclose too. */
#include <fcntl.h>
#include <wchar.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { pipe_size = 4096, text_size = 20000 };

static int ends[2];
static FILE *out;
static char text[text_size + 1], got[text_size + 1];

/* A stream with this buffering to a pipe that is full already. */
static void open_full(int mode, size_t buffer)
{
    static char room[BUFSIZ];
    MUST(pipe(ends));
    MUST(fcntl(ends[1], F_SETPIPE_SZ, pipe_size));
    out = fdopen(ends[1], "w");
    MUST_BE(out != NULL);
    setvbuf(out, mode == _IONBF ? NULL : room, mode, buffer);
    memset(room, '-', sizeof(room));
    MUST(write(ends[1], room, pipe_size));
    for (int i = 0; i < text_size; i++)
        text[i] = i % 50 == 49 ? '\n' : (char)('a' + i % 26);
    text[text_size] = '\0';
    memset(got, 0, sizeof(got));
}

/* Drops what filled the pipe, then takes as many bytes as asked for. */
static void take(void *arg)
{
    size_t want = *(size_t *)arg, have = 0;
    for (long skip = pipe_size; skip > 0;)
        skip -= MUST_LONG(read(ends[0], got, (size_t)skip));
    memset(got, 0, sizeof(got));
    while (have < want) {
        ssize_t n = read(ends[0], got + have, want - have);
        if (n <= 0)
            return;
        have += (size_t)n;
    }
}

static void drop(void)
{
    fclose(out);
    close(ends[0]);
}

/* call writes the text, or the first size bytes of it. */
static void check_call(const char *name, size_t size, long want, long (*call)(void))
{
    static const int modes[] = {_IONBF, _IOLBF, _IOFBF};
    check_current = name;
    for (int m = 0; m < 3; m++) {
        long n;
        open_full(modes[m], 512);
        WHILE(take, &size, n = call(); fflush(out));
        EQUALS(n, want, "writes all");
        HOLDS(memcmp(got, text, size) == 0, "which arrives in order");
        HOLDS(!ferror(out), "without an error");
        EQUALS(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
        drop();
    }
}

static long by_fputs(void)
{
    return fputs(text, out) < 0 ? -1 : 0;
}

static long by_fputs_unlocked(void)
{
    return fputs_unlocked(text, out) < 0 ? -1 : 0;
}

static long by_fprintf(void)
{
    return fprintf(out, "%s", text);
}

static long by_fwrite(void)
{
    return (long)fwrite(text, 1, text_size, out);
}

static long by_fwrite_unlocked(void)
{
    return (long)fwrite_unlocked(text, 1, text_size, out);
}

static long by_fputc(void)
{
    for (int i = 0; i < 3000; i++)
        if (fputc(text[i], out) != text[i])
            return i;
    return 3000;
}

static long by_putc(void)
{
    for (int i = 0; i < 3000; i++)
        if (putc(text[i], out) != text[i])
            return i;
    return 3000;
}

static long by_putc_unlocked(void)
{
    for (int i = 0; i < 3000; i++)
        if (putc_unlocked(text[i], out) != text[i])
            return i;
    return 3000;
}

static long by_fwprintf(void)
{
    return fwprintf(out, L"%s", text);
}

static long by_dprintf(void)
{
    return dprintf(ends[1], "%s", text);
}

static void calls(void)
{
    check_call("fputs", text_size, 0, by_fputs);
    check_call("fputs_unlocked", text_size, 0, by_fputs_unlocked);
    check_call("fprintf", text_size, text_size, by_fprintf);
    check_call("fwrite", text_size, text_size, by_fwrite);
    check_call("fwrite_unlocked", text_size, text_size, by_fwrite_unlocked);
    check_call("fputc", 3000, 3000, by_fputc);
    check_call("putc", 3000, 3000, by_putc);
    check_call("putc_unlocked", 3000, 3000, by_putc_unlocked);
    check_call("fwprintf", text_size, text_size, by_fwprintf);
    check_call("dprintf", text_size, text_size, by_dprintf);
}

/* The wait is in fflush and in fclose, not in the call before. */
static void flushing(void)
{
    size_t size = 100;
    int result;
    open_full(_IOFBF, 1024);
    EQUALS(fwrite(text, 1, size, out), size, "fwrite keeps a little in its buffer");
    WHILE(take, &size, result = fflush(out));
    EQUALS(result, 0, "fflush waits for room");
    HOLDS(memcmp(got, text, size) == 0, "and writes it");
    drop();
    open_full(_IOFBF, 1024);
    EQUALS(fwrite(text, 1, size, out), size, "fwrite");
    WHILE(take, &size, result = fclose(out));
    EQUALS(result, 0, "fclose waits for room");
    HOLDS(memcmp(got, text, size) == 0, "and writes it");
    close(ends[0]);
    open_full(_IOFBF, 1024);
    EQUALS(fwrite(text, 1, size, out), size, "fwrite");
    WHILE(take, &size, result = fflush(NULL));
    EQUALS(result, 0, "fflush of all streams waits for room");
    HOLDS(memcmp(got, text, size) == 0, "and writes it");
    drop();
}

static void errors(void)
{
    int result;
    signal(SIGPIPE, SIG_IGN);
    open_full(_IOFBF, 1024);
    close(ends[0]);
    fputs("text", out);
    result = fflush(out);
    HOLDS(result == EOF && errno == EPIPE, "fflush without a reader");
    HOLDS(ferror(out), "is an error");
    fclose(out);
    open_full(_IONBF, 0);
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = fputs("text", out));
    HOLDS(result == EOF && errno == EINTR, "a signal interrupts fputs");
    MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    clearerr(out);
    HOLDS(fputs("text", out) == EOF && errno == EAGAIN, "O_NONBLOCK says EAGAIN");
    drop();
    out = fopen("/dev/full", "w");
    fputs("text", out);
    HOLDS(fclose(out) == EOF && errno == ENOSPC, "fclose tells that there was no space");
}

static const struct check checks[] = {CHECK(calls), CHECK(flushing), CHECK(errors)};

TICKING_MAIN(checks)
