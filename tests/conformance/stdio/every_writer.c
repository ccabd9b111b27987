/* Every other call that writes a stream, the twins that old or fortified programs call among them:
 * each waits while the pipe behind the stream is full, and its text arrives whole. */
#include <err.h>
#include <error.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <wchar.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { pipe_size = 4096 };

/* Exported by libc, declared by no header, or by macros only. */
extern int _IO_putc(int c, FILE *stream);
extern int __vprintf_chk(int flag, const char *format, va_list args);
extern int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list args);
extern int __vdprintf_chk(int fd, int flag, const char *format, va_list args);
extern int __wprintf_chk(int flag, const wchar_t *format, ...);
extern int __fwprintf_chk(FILE *stream, int flag, const wchar_t *format, ...);
extern int __vwprintf_chk(int flag, const wchar_t *format, va_list args);
extern int __vfwprintf_chk(FILE *stream, int flag, const wchar_t *format, va_list args);
extern int __printf_chk(int flag, const char *format, ...);
extern int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
extern int __dprintf_chk(int fd, int flag, const char *format, ...);

static int ends[2];
static FILE *out;
static char got[256];
static size_t wanted;

/* A stream of its own buffering to a pipe that is full. */
static void open_full(void)
{
    static const char filling[pipe_size];
    MUST(pipe(ends));
    MUST(fcntl(ends[1], F_SETPIPE_SZ, pipe_size));
    MUST(write(ends[1], filling, pipe_size));
    out = fdopen(ends[1], "w");
    MUST_BE(out != NULL);
    setvbuf(out, NULL, _IONBF, 0);
}

static void take(void *unused)
{
    static char filling[pipe_size];
    (void)unused;
    for (size_t skip = pipe_size; skip > 0;)
        skip -= (size_t)MUST_LONG(read(ends[0], filling, skip));
    memset(got, 0, sizeof(got));
    for (size_t have = 0; have < wanted;) {
        ssize_t n = read(ends[0], got + have, wanted - have);
        if (n <= 0)
            return;
        have += (size_t)n;
    }
}

/* With a va_list of 7 and "end". */
typedef int with_list(va_list args);

__attribute__((noinline)) static int call_with(with_list *call, ...)
{
    va_list args;
    va_start(args, call);
    int n = call(args);
    va_end(args);
    return n;
}

static int list_vprintf(va_list args)
{
    return vprintf("%d %s\n", args);
}

static int list_vfprintf(va_list args)
{
    return vfprintf(out, "%d %s\n", args);
}

static int list_vdprintf(va_list args)
{
    return vdprintf(ends[1], "%d %s\n", args);
}

static int list_vwprintf(va_list args)
{
    return vwprintf(L"%d %s\n", args);
}

static int list_vfwprintf(va_list args)
{
    return vfwprintf(out, L"%d %s\n", args);
}

static int list_vprintf_chk(va_list args)
{
    return __vprintf_chk(1, "%d %s\n", args);
}

static int list_vfprintf_chk(va_list args)
{
    return __vfprintf_chk(out, 1, "%d %s\n", args);
}

static int list_vdprintf_chk(va_list args)
{
    return __vdprintf_chk(ends[1], 1, "%d %s\n", args);
}

static int list_vwprintf_chk(va_list args)
{
    return __vwprintf_chk(1, L"%d %s\n", args);
}

static int list_vfwprintf_chk(va_list args)
{
    return __vfwprintf_chk(out, 1, L"%d %s\n", args);
}

static int list_vwarn(va_list args)
{
    errno = ENOENT;
    vwarn("%d %s", args);
    return 0;
}

static int list_vwarnx(va_list args)
{
    vwarnx("%d %s", args);
    return 0;
}

/* Each check below is one call; the expected text is what arrives. */
#define WRITES(name, text, call)                                                                   \
    do {                                                                                           \
        FILE *keep_out = stdout, *keep_error = stderr;                                             \
        check_current = name;                                                                      \
        open_full();                                                                               \
        wanted = strlen(text);                                                                     \
        stdout = stderr = out;                                                                     \
        WHILE(take, NULL, call);                                                                   \
        stdout = keep_out;                                                                         \
        stderr = keep_error;                                                                       \
        HOLDS(strcmp(got, text) == 0, "the text arrives");                                         \
        fclose(out);                                                                               \
        close(ends[0]);                                                                            \
    } while (0)

static void characters(void)
{
    WRITES("fputc_unlocked", "c", fputc_unlocked('c', out));
    WRITES("putc_unlocked", "c", putc_unlocked('c', out));
    WRITES("_IO_putc", "c", _IO_putc('c', out));
    WRITES("putchar", "c", putchar('c'));
    WRITES("putchar_unlocked", "c", putchar_unlocked('c'));
    WRITES("puts", "text\n", puts("text"));
    WRITES("putw", "abcd", putw(0x64636261, out));
}

static void wide(void)
{
    WRITES("fputwc", "c", fputwc(L'c', out));
    WRITES("fputwc_unlocked", "c", fputwc_unlocked(L'c', out));
    WRITES("putwc", "c", putwc(L'c', out));
    WRITES("putwc_unlocked", "c", putwc_unlocked(L'c', out));
    WRITES("putwchar", "c", putwchar(L'c'));
    WRITES("putwchar_unlocked", "c", putwchar_unlocked(L'c'));
    WRITES("fputws", "text", fputws(L"text", out));
    WRITES("fputws_unlocked", "text", fputws_unlocked(L"text", out));
    WRITES("wprintf", "7 end\n", wprintf(L"%d %s\n", 7, "end"));
    WRITES("vwprintf", "7 end\n", call_with(list_vwprintf, 7, "end"));
    WRITES("vfwprintf", "7 end\n", call_with(list_vfwprintf, 7, "end"));
    WRITES("__wprintf_chk", "7 end\n", __wprintf_chk(1, L"%d %s\n", 7, "end"));
    WRITES("__fwprintf_chk", "7 end\n", __fwprintf_chk(out, 1, L"%d %s\n", 7, "end"));
    WRITES("__vwprintf_chk", "7 end\n", call_with(list_vwprintf_chk, 7, "end"));
    WRITES("__vfwprintf_chk", "7 end\n", call_with(list_vfwprintf_chk, 7, "end"));
}

static void formats(void)
{
    WRITES("printf", "7 end\n", printf("%d %s\n", 7, "end"));
    WRITES("vprintf", "7 end\n", call_with(list_vprintf, 7, "end"));
    WRITES("vfprintf", "7 end\n", call_with(list_vfprintf, 7, "end"));
    WRITES("vdprintf", "7 end\n", call_with(list_vdprintf, 7, "end"));
    WRITES("__printf_chk", "7 end\n", __printf_chk(1, "%d %s\n", 7, "end"));
    WRITES("__fprintf_chk", "7 end\n", __fprintf_chk(out, 1, "%d %s\n", 7, "end"));
    WRITES("__dprintf_chk", "7 end\n", __dprintf_chk(ends[1], 1, "%d %s\n", 7, "end"));
    WRITES("__vprintf_chk", "7 end\n", call_with(list_vprintf_chk, 7, "end"));
    WRITES("__vfprintf_chk", "7 end\n", call_with(list_vfprintf_chk, 7, "end"));
    WRITES("__vdprintf_chk", "7 end\n", call_with(list_vdprintf_chk, 7, "end"));
}

static void messages(void)
{
    program_invocation_name = program_invocation_short_name = "me";
    WRITES("perror", "where: No such file or directory\n", errno = ENOENT; perror("where"));
    WRITES("psignal", "what: Terminated\n", psignal(SIGTERM, "what"));
    WRITES("warn", "me: 7 end: No such file or directory\n", errno = ENOENT; warn("%d %s", 7, "end"));
    WRITES("warnx", "me: 7 end\n", warnx("%d %s", 7, "end"));
    WRITES("vwarn", "me: 7 end: No such file or directory\n", call_with(list_vwarn, 7, "end"));
    WRITES("vwarnx", "me: 7 end\n", call_with(list_vwarnx, 7, "end"));
    WRITES("error", "me: 7 end: No such file or directory\n", error(0, ENOENT, "%d %s", 7, "end"));
    WRITES("error_at_line", "me:file:9: 7 end\n", error_at_line(0, 0, "file", 9, "%d %s", 7, "end"));
}

/* psiginfo writes to descriptor 2, whatever stderr is. */
static void to_descriptor_2(void)
{
    static const char text[] = "what: Terminated (Signal sent by kill() 0 0)\n";
    siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_USER};
    int keep = MUST(dup(STDERR_FILENO));
    open_full();
    wanted = sizeof(text) - 1;
    MUST(dup2(ends[1], STDERR_FILENO));
    WHILE(take, NULL, psiginfo(&info, "what"));
    MUST(dup2(keep, STDERR_FILENO));
    close(keep);
    HOLDS(strcmp(got, text) == 0, "psiginfo's text arrives");
    fclose(out);
    close(ends[0]);
}

/* Those that end the process, in a child; what they print is read here. */
static int list_verr(va_list args)
{
    errno = ENOENT;
    verr(3, "%d %s", args);
}

static int list_verrx(va_list args)
{
    verrx(3, "%d %s", args);
}

static int end_err(void)
{
    stderr = out;
    errno = ENOENT;
    err(3, "%d %s", 7, "end");
}

static int end_errx(void)
{
    stderr = out;
    errx(3, "%d %s", 7, "end");
}

static int end_verr(void)
{
    stderr = out;
    return call_with(list_verr, 7, "end");
}

static int end_verrx(void)
{
    stderr = out;
    return call_with(list_verrx, 7, "end");
}

static int end_error(void)
{
    stderr = out;
    error(3, 0, "%d %s", 7, "end");
    return 4;
}

static void ending(void)
{
    static const struct {
        const char *name, *text;
        int (*call)(void);
    } calls[] = {
        {"err", "me: 7 end: No such file or directory\n", end_err},
        {"errx", "me: 7 end\n", end_errx},
        {"verr", "me: 7 end: No such file or directory\n", end_verr},
        {"verrx", "me: 7 end\n", end_verrx},
        {"error", "me: 7 end\n", end_error},
    };
    program_invocation_name = program_invocation_short_name = "me";
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        int status;
        check_current = calls[i].name;
        open_full();
        wanted = strlen(calls[i].text);
        WHILE(take, NULL, status = child_run(calls[i].call));
        EXPECT_EXITS(status, 3);
        HOLDS(strcmp(got, calls[i].text) == 0, "the text arrives");
        fclose(out);
        close(ends[0]);
    }
}

/* Moving in a stream writes what its buffer holds. */
static void move_to_start(void)
{
    fseeko(out, 0, SEEK_SET);
}

static void move_by_position(void)
{
    fpos_t start;
    memset(&start, 0, sizeof(start));
    fsetpos(out, &start);
}

static void moving(void)
{
    static void (*const moves[])(void) = {move_to_start, move_by_position};
    char name[64];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "moved-%d-%d", (int)getpid(), i);
        out = fopen64(name, "w+");
        fputs("0123456789", out);
        moves[i]();
        fputs("ab", out);
        fflush(out);
        EQUALS(pread(fileno(out), got, 10, 0), 10, "all was written");
        BYTES(got, "ab23456789", 10, "in its place");
        out = freopen64(name, "r", out);
        MUST_BE(out != NULL);
        EQUALS(fgetc(out), 'a', "freopen64");
        fclose(out);
        unlink(name);
    }
}

static const struct check checks[] = {CHECK(characters), CHECK(wide),   CHECK(formats),
                                      CHECK(messages),   CHECK(to_descriptor_2),
                                      CHECK(ending),     CHECK(moving)};

TICKING_MAIN(checks)
