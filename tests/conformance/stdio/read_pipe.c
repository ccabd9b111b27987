/* Every way of reading a stream waits for a pipe while other threads run, and gives what came. */
#include <wchar.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int ends[2];
static FILE *in;

static void open_stream(void)
{
    MUST(pipe(ends));
    in = fdopen(ends[0], "r");
    MUST_BE(in != NULL);
}

static void close_stream(void)
{
    EQUALS(fclose(in), 0, "fclose");
    close(ends[1]);
}

static void put(void *text)
{
    MUST(write(ends[1], text, strlen(text)));
}

/* In two pieces, the second after a pause. */
static void put_slowly(void *text)
{
    const char *all = text;
    size_t half = strlen(all) / 2;
    MUST(write(ends[1], all, half));
    ticker_wait(5);
    MUST(write(ends[1], all + half, strlen(all) - half));
}

static void end(void *unused)
{
    (void)unused;
    close(ends[1]);
}

static void characters(void)
{
    int c;
    open_stream();
    WHILE(put, "a", c = fgetc(in));
    EQUALS(c, 'a', "fgetc");
    WHILE(put, "b", c = getc(in));
    EQUALS(c, 'b', "getc");
    WHILE(put, "c", c = getc_unlocked(in));
    EQUALS(c, 'c', "getc_unlocked");
    WHILE(put, "d", c = fgetc_unlocked(in));
    EQUALS(c, 'd', "fgetc_unlocked");
    EQUALS(ungetc('z', in), 'z', "ungetc");
    EQUALS(getc(in), 'z', "is read first");
    WHILE(put, "\1\0\0\0", c = getc(in));
    EQUALS(c, 1, "any byte");
    close_stream();
    open_stream();
    WHILE(end, NULL, c = fgetc(in));
    EQUALS(c, EOF, "the end");
    HOLDS(feof(in) && !ferror(in), "is an end, not an error");
    EQUALS(fgetc(in), EOF, "again");
    EQUALS(fclose(in), 0, "fclose");
}

static void words(void)
{
    static const int words_wanted[3] = {0x01020304, 5, 6};
    int got = 0;
    open_stream();
    MUST(write(ends[1], words_wanted, sizeof(words_wanted)));
    got = getw(in);
    EQUALS(got, 0x01020304, "getw");
    close_stream();
}

static void lines(void)
{
    char got[64], *line = NULL;
    size_t room = 0;
    ssize_t n;
    char *result;
    open_stream();
    WHILE(put_slowly, "first line\n", result = fgets(got, sizeof(got), in));
    HOLDS(result == got && strcmp(got, "first line\n") == 0, "fgets waits for a whole line");
    WHILE(put_slowly, "longer than\n", result = fgets(got, 6, in));
    HOLDS(result == got && strcmp(got, "longe") == 0, "or for its room");
    HOLDS(fgets(got, sizeof(got), in) == got && strcmp(got, "r than\n") == 0, "then the rest");
    WHILE(put_slowly, "unlocked\n", result = fgets_unlocked(got, sizeof(got), in));
    HOLDS(result == got && strcmp(got, "unlocked\n") == 0, "fgets_unlocked");
    WHILE(put_slowly, "some line\n", n = getline(&line, &room, in));
    EQUALS(n, 10, "getline");
    HOLDS(strcmp(line, "some line\n") == 0, "its line");
    WHILE(put_slowly, "up to;here", n = getdelim(&line, &room, ';', in));
    EQUALS(n, 6, "getdelim");
    HOLDS(strcmp(line, "up to;") == 0, "its text");
    WHILE(end, NULL, n = getline(&line, &room, in));
    EQUALS(n, 4, "the end ends a line");
    HOLDS(strcmp(line, "here") == 0, "its text");
    EQUALS(getline(&line, &room, in), -1, "then nothing");
    HOLDS(fgets(got, sizeof(got), in) == NULL, "for fgets too");
    free(line);
    EQUALS(fclose(in), 0, "fclose");
}

static void blocks(void)
{
    char got[64];
    size_t n;
    open_stream();
    WHILE(put_slowly, "0123456789", n = fread(got, 1, 10, in));
    EQUALS(n, 10, "fread waits for all");
    BYTES(got, "0123456789", 10, "its bytes");
    WHILE(put_slowly, "0123456789", n = fread(got, 5, 2, in));
    EQUALS(n, 2, "in items");
    WHILE(put_slowly, "0123456789", n = fread_unlocked(got, 1, 10, in));
    EQUALS(n, 10, "fread_unlocked");
    EQUALS(fread(got, 0, 10, in), 0, "nothing asked for");
    put("abc");
    WHILE(end, NULL, n = fread(got, 1, 10, in));
    EQUALS(n, 3, "the end ends it");
    HOLDS(feof(in), "feof");
    EQUALS(fclose(in), 0, "fclose");
}

static void scanning(void)
{
    int number = 0, count;
    char word[16] = "";
    open_stream();
    WHILE(put_slowly, "1234 hello\n", count = fscanf(in, "%d %15s", &number, word));
    EQUALS(count, 2, "fscanf");
    EQUALS(number, 1234, "the number in two pieces");
    HOLDS(strcmp(word, "hello") == 0, "the word");
    WHILE(put_slowly, " 77x", count = fscanf(in, "%d", &number));
    EQUALS(number, 77, "a number and what ends it");
    EQUALS(getc(in), 'x', "is left");
    WHILE(end, NULL, count = fscanf(in, "%d", &number));
    EQUALS(count, EOF, "the end");
    EQUALS(fclose(in), 0, "fclose");
}

static void wide(void)
{
    wchar_t got[32];
    wchar_t *result;
    wint_t c;
    open_stream();
    WHILE(put_slowly, "wide\n", result = fgetws(got, 32, in));
    HOLDS(result == got && wcscmp(got, L"wide\n") == 0, "fgetws");
    WHILE(put, "w", c = fgetwc(in));
    EQUALS(c, L'w', "fgetwc");
    WHILE(put, "v", c = getwc(in));
    EQUALS(c, L'v', "getwc");
    WHILE(end, NULL, c = fgetwc(in));
    EQUALS(c, WEOF, "the end");
    EQUALS(fclose(in), 0, "fclose");
}

/* A signal without SA_RESTART: the stream tells of an error, and can be used again. */
static void interrupted(void)
{
    char got[16];
    char *result;
    open_stream();
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = fgets(got, sizeof(got), in));
    HOLDS(result == NULL && errno == EINTR && ferror(in), "fgets says EINTR");
    clearerr(in);
    WHILE(put, "later\n", result = fgets(got, sizeof(got), in));
    HOLDS(result == got && strcmp(got, "later\n") == 0, "and goes on later");
    signal_catch(SIGUSR1, SA_RESTART);
    struct kicker kicker;
    kicker_start(&kicker, SIGUSR1);
    WHILE(put, "on\n", result = fgets(got, sizeof(got), in));
    kicker_stop(&kicker);
    HOLDS(result == got && strcmp(got, "on\n") == 0, "SA_RESTART goes on");
    MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    HOLDS(fgets(got, sizeof(got), in) == NULL && errno == EAGAIN, "O_NONBLOCK says EAGAIN");
    close_stream();
}

static void unbuffered(void)
{
    char got[16];
    char *result;
    open_stream();
    setvbuf(in, NULL, _IONBF, 0);
    WHILE(put_slowly, "line\n", result = fgets(got, sizeof(got), in));
    HOLDS(result == got && strcmp(got, "line\n") == 0, "fgets without a buffer");
    int c;
    WHILE(put, "c", c = getc(in));
    EQUALS(c, 'c', "getc without a buffer");
    close_stream();
}

static const struct check checks[] = {
    CHECK(characters), CHECK(words), CHECK(lines),       CHECK(blocks),
    CHECK(scanning),   CHECK(wide),  CHECK(interrupted), CHECK(unbuffered),
};

TICKING_MAIN(checks)
