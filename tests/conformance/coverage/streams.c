/* The stream calls that other programs here do not make: each waits for its stream's lock or data
 * while other threads go on, and so do those that take no lock or a stream of their own. */
#include <stdarg.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "kit/expect.h"
#include "kit/threads.h"

/* Fortified twins, which only headers' macros name. */
extern char *__fgets_chk(char *line, size_t room, int n, FILE *f);
extern size_t __fread_chk(void *to, size_t room, size_t size, size_t n, FILE *f);
/* The names of scanf before ISO C99, under which old programs call it: a header renames the calls. */
extern int old_vfscanf(FILE *f, const char *format, va_list ap) __asm__("vfscanf");
extern int old_vscanf(const char *format, va_list ap) __asm__("vscanf");
extern int old_vfwscanf(FILE *f, const wchar_t *format, va_list ap) __asm__("vfwscanf");
extern int old_vwscanf(const wchar_t *format, va_list ap) __asm__("vwscanf");
extern int old_fwscanf(FILE *f, const wchar_t *format, ...) __asm__("fwscanf");
extern int old_wscanf(const wchar_t *format, ...) __asm__("wscanf");

static int ends[2];
static FILE *in;

static void open_reader(void)
{
    MUST(pipe(ends));
    in = fdopen(ends[0], "r");
    MUST_BE(in != NULL);
}

static void close_reader(void)
{
    fclose(in);
    close(ends[1]);
}

static void put_line(void *line)
{
    MUST(write(ends[1], line, strlen(line)));
}

/* ---- Reading while the pipe is empty ---- */

static int scan_with(int (*scan)(FILE *, const char *, va_list), const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = scan(in, format, ap);
    va_end(ap);
    return n;
}

static int scan_wide_with(int (*scan)(FILE *, const wchar_t *, va_list), const wchar_t *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = scan(in, format, ap);
    va_end(ap);
    return n;
}

static int scan_stdin(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = old_vscanf(format, ap);
    va_end(ap);
    return n;
}

static int scan_stdin_wide(const wchar_t *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = old_vwscanf(format, ap);
    va_end(ap);
    return n;
}

static void scanning(void)
{
    int n = 0, got = 0;
    open_reader();
    WHILE(put_line, "17\n", n = scan_with(old_vfscanf, "%d", &got));
    EQUALS(n, 1, "vfscanf");
    EQUALS(got, 17, "its number");
    close_reader();
    open_reader();
    WHILE(put_line, "19\n", n = scan_wide_with(old_vfwscanf, L"%d", &got));
    EQUALS(n, 1, "vfwscanf");
    EQUALS(got, 19, "its number");
    WHILE(put_line, "23\n", n = old_fwscanf(in, L"%d", &got));
    EQUALS(n, 1, "fwscanf");
    EQUALS(got, 23, "its number");
    close_reader();
}

static void scanning_stdin(void)
{
    int n = 0, got = 0;
    FILE *before = stdin;
    open_reader();
    stdin = in;
    WHILE(put_line, "29\n", n = scan_stdin("%d", &got));
    EQUALS(n, 1, "vscanf");
    EQUALS(got, 29, "its number");
    stdin = before;
    close_reader();
    open_reader();
    stdin = in;
    WHILE(put_line, "31\n", n = scan_stdin_wide(L"%d", &got));
    EQUALS(n, 1, "vwscanf");
    EQUALS(got, 31, "its number");
    WHILE(put_line, "37\n", n = old_wscanf(L"%d", &got));
    EQUALS(n, 1, "wscanf");
    EQUALS(got, 37, "its number");
    stdin = before;
    close_reader();
}

static void fortified(void)
{
    char line[16] = "", *got = NULL;
    size_t n = 0;
    open_reader();
    WHILE(put_line, "word\n", got = __fgets_chk(line, sizeof(line), sizeof(line), in));
    HOLDS(got == line, "__fgets_chk");
    BYTES(line, "word\n", 6, "its line");
    WHILE(put_line, "12345678", n = __fread_chk(line, sizeof(line), 1, 8, in));
    EQUALS(n, 8, "__fread_chk");
    BYTES(line, "12345678", 8, "its bytes");
    close_reader();
}

static void without_locks(void)
{
    char line[16] = "", *got = NULL;
    size_t n = 0;
    int c = 0;
    open_reader();
    WHILE(put_line, "a", c = getc_unlocked(in));
    EQUALS(c, 'a', "getc_unlocked");
    WHILE(put_line, "b", c = fgetc_unlocked(in));
    EQUALS(c, 'b', "fgetc_unlocked");
    WHILE(put_line, "line\n", got = fgets_unlocked(line, sizeof(line), in));
    HOLDS(got == line, "fgets_unlocked");
    WHILE(put_line, "12345678", n = fread_unlocked(line, 1, 8, in));
    EQUALS(n, 8, "fread_unlocked");
    close_reader();
}

/* ---- Writing to a full pipe ---- */

static void drain(void *unused)
{
    static char sink[65536];
    (void)unused;
    MUST(read(ends[0], sink, sizeof(sink)));
}

static void fill(void)
{
    static char block[65536];
    MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    while (write(ends[1], block, sizeof(block)) > 0)
        continue;
    MUST(fcntl(ends[1], F_SETFL, 0));
}

static int print_args(int fd, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vdprintf(fd, format, ap);
    va_end(ap);
    return n;
}

static void writing(void)
{
    size_t n = 0;
    int r = 0;
    MUST(pipe(ends));
    fill();
    WHILE(drain, NULL, r = dprintf(ends[1], "%s", "text"));
    EQUALS(r, 4, "dprintf");
    fill();
    WHILE(drain, NULL, r = print_args(ends[1], "%s", "text"));
    EQUALS(r, 4, "vdprintf");
    FILE *out = fdopen(ends[1], "w");
    setvbuf(out, NULL, _IONBF, 0);
    fill();
    WHILE(drain, NULL, n = fwrite_unlocked("text", 1, 4, out));
    EQUALS(n, 4, "fwrite_unlocked");
    fill();
    WHILE(drain, NULL, r = putc_unlocked('c', out));
    EQUALS(r, 'c', "putc_unlocked");
    fill();
    WHILE(drain, NULL, r = fputs_unlocked("text", out));
    HOLDS(r >= 0, "fputs_unlocked");
    fclose(out);
    close(ends[0]);
}

/* ---- Waiting for the lock alone ---- */

static FILE *shared;
static atomic_bool held, asking;

/* Lets go some time after the other one has begun to ask, and not before a third thread has run. */
static void *hold(void *unused)
{
    flockfile(shared);
    atomic_store(&held, true);
    while (!atomic_load(&asking))
        sleep_ms(1);
    sleep_ms(30);
    ticker_wait(1);
    atomic_store(&held, false);
    funlockfile(shared);
    return unused;
}

/* The statement returns only after the holder has let go. */
#define AFTER_HOLDER(statement, what)                                \
    do {                                                             \
        atomic_store(&asking, false);                                \
        pthread_t holder = start(hold, NULL);                        \
        while (!atomic_load(&held))                                  \
            sleep_ms(1);                                             \
        atomic_store(&asking, true);                                 \
        statement;                                                   \
        HOLDS(!atomic_load(&held), what " waits for the stream");    \
        finish(holder);                                              \
    } while (0)

static void locks(void)
{
    static char buffer[BUFSIZ];
    fpos_t at;
    shared = tmpfile();
    MUST_BE(shared != NULL);
    fputs("0123456789", shared);
    fflush(shared);
    AFTER_HOLDER(EQUALS(ftello(shared), 10, "the end"), "ftello");
    AFTER_HOLDER(EQUALS(fgetpos(shared, &at), 0, "fgetpos"), "fgetpos");
    fclose(shared);
    shared = tmpfile();
    AFTER_HOLDER(setbuf(shared, buffer), "setbuf");
    AFTER_HOLDER(setlinebuf(shared), "setlinebuf");
    AFTER_HOLDER(setbuffer(shared, buffer, sizeof(buffer)), "setbuffer");
    AFTER_HOLDER(EQUALS(ungetwc(L'w', shared), L'w', "ungetwc"), "ungetwc");
    EQUALS(fgetwc(shared), L'w', "what was put back");
    fclose(shared);
}

/* ---- All streams at once ---- */

static void drain_and_look(void *left)
{
    char got[65536];
    ssize_t n = 0;
    for (int i = 0; i < *(int *)left; i += (int)n)
        n = MUST(read(ends[0], got, sizeof(got)));
    BYTES(got + n - 4, "tail", 4, "what was buffered came last");
}

static int close_all(void)
{
    int r = -1, left = 0;
    ticker_start();
    MUST(pipe(ends));
    FILE *out = fdopen(ends[1], "w");
    fputs("tail", out);
    fill();
    MUST(ioctl(ends[0], FIONREAD, &left));
    left += 4;
    WHILE(drain_and_look, &left, r = fcloseall());
    ticker_stop();
    return r;
}

/* In a child, because it takes stdout along. */
static void all_at_once(void)
{
    EXPECT_EXITS(child_run(close_all), 0);
}

static const struct check checks[] = {
    CHECK(scanning), CHECK(scanning_stdin), CHECK(fortified),   CHECK(without_locks),
    CHECK(writing),  CHECK(locks),          CHECK(all_at_once),
};

TICKING_MAIN(checks)
