/* Every other call that reads a stream, the twins that old or fortified programs call among them:
 * each waits for the pipe behind the stream, and gives what came. */
#include <dlfcn.h>
#include <stdarg.h>
#include <wchar.h>

#include "kit/expect.h"
#include "kit/threads.h"

/* Exported by libc, declared by no header, or by macros only. */
extern int _IO_getc(FILE *stream);
extern int __underflow(FILE *stream);
extern int __uflow(FILE *stream);
extern wint_t __wunderflow(FILE *stream);
extern wint_t __wuflow(FILE *stream);
extern void _IO_flockfile(FILE *stream);
extern void _IO_funlockfile(FILE *stream);
extern wchar_t *__fgetws_chk(wchar_t *line, size_t room, int n, FILE *stream);
extern wchar_t *__fgetws_unlocked_chk(wchar_t *line, size_t room, int n, FILE *stream);
extern ssize_t __getdelim(char **line, size_t *room, int delimiter, FILE *stream);
extern int __isoc99_scanf(const char *format, ...);
extern int __isoc99_fscanf(FILE *stream, const char *format, ...);
extern int __isoc99_vscanf(const char *format, va_list args);
extern int __isoc99_vfscanf(FILE *stream, const char *format, va_list args);
extern int __isoc99_wscanf(const wchar_t *format, ...);
extern int __isoc99_fwscanf(FILE *stream, const wchar_t *format, ...);
extern int __isoc99_vwscanf(const wchar_t *format, va_list args);
extern int __isoc99_vfwscanf(FILE *stream, const wchar_t *format, va_list args);

/* The plain names, which a C99 program's headers turn into those above. */
extern int plain_scanf(const char *format, ...) __asm__("scanf");
extern int plain_fscanf(FILE *stream, const char *format, ...) __asm__("fscanf");
extern int plain_vscanf(const char *format, va_list args) __asm__("vscanf");
extern int plain_vfscanf(FILE *stream, const char *format, va_list args) __asm__("vfscanf");
extern int plain_wscanf(const wchar_t *format, ...) __asm__("wscanf");
extern int plain_fwscanf(FILE *stream, const wchar_t *format, ...) __asm__("fwscanf");
extern int plain_vwscanf(const wchar_t *format, va_list args) __asm__("vwscanf");
extern int plain_vfwscanf(FILE *stream, const wchar_t *format, va_list args) __asm__("vfwscanf");

static int ends[2], number;
static FILE *in;
static char line[64];
static wchar_t wide_line[64];

static void put_slowly(void *text)
{
    const char *all = text;
    size_t half = strlen(all) / 2;
    MUST(write(ends[1], all, half));
    ticker_wait(3);
    MUST(write(ends[1], all + half, strlen(all) - half));
}

/* One call on a fresh stream, which is stdin too, with this text coming slowly. */
#define READS(name, text, condition, call)                                                         \
    do {                                                                                           \
        FILE *keep = stdin;                                                                        \
        check_current = name;                                                                      \
        MUST(pipe(ends));                                                                          \
        in = fdopen(ends[0], "r");                                                                 \
        MUST_BE(in != NULL);                                                                       \
        memset(line, 0, sizeof(line));                                                             \
        memset(wide_line, 0, sizeof(wide_line));                                                   \
        number = 0;                                                                                \
        stdin = in;                                                                                \
        WHILE(put_slowly, text, call);                                                             \
        stdin = keep;                                                                              \
        HOLDS(condition, "waits for its text and gives it");                                       \
        fclose(in);                                                                                \
        close(ends[1]);                                                                            \
    } while (0)

static void characters(void)
{
    int c = 0;
    wint_t w = 0;
    READS("getc_unlocked", "ab", c == 'a', c = getc_unlocked(in));
    READS("fgetc_unlocked", "ab", c == 'a', c = fgetc_unlocked(in));
    READS("_IO_getc", "ab", c == 'a', c = _IO_getc(in));
    READS("getchar", "ab", c == 'a', c = getchar());
    READS("getchar_unlocked", "ab", c == 'a', c = getchar_unlocked());
    READS("__underflow", "ab", c == 'a', c = __underflow(in));
    READS("__uflow", "ab", c == 'a', c = __uflow(in));
    READS("fgetwc_unlocked", "ab", w == L'a', w = fgetwc_unlocked(in));
    READS("getwc_unlocked", "ab", w == L'a', w = getwc_unlocked(in));
    READS("getwchar", "ab", w == L'a', w = getwchar());
    READS("getwchar_unlocked", "ab", w == L'a', w = getwchar_unlocked());
    READS("__wunderflow", "ab", w == L'a', fwide(in, 1); w = __wunderflow(in));
    READS("__wuflow", "ab", w == L'a', fwide(in, 1); w = __wuflow(in));
}

static void lines(void)
{
    char *grown = NULL;
    size_t room = 0;
    /* By dlsym, because the linker warns of each mention. */
    char *(*gets)(char *) = dlsym(RTLD_DEFAULT, "gets");
    char *(*__gets_chk)(char *, size_t) = dlsym(RTLD_DEFAULT, "__gets_chk");
    READS("gets", "a line\n", strcmp(line, "a line") == 0, gets(line));
    READS("__gets_chk", "a line\n", strcmp(line, "a line") == 0, __gets_chk(line, sizeof(line)));
    READS("fgetws_unlocked", "a line\n", wcscmp(wide_line, L"a line\n") == 0,
          fgetws_unlocked(wide_line, 64, in));
    READS("__fgetws_chk", "a line\n", wcscmp(wide_line, L"a line\n") == 0,
          __fgetws_chk(wide_line, 64, 64, in));
    READS("__fgetws_unlocked_chk", "a line\n", wcscmp(wide_line, L"a line\n") == 0,
          __fgetws_unlocked_chk(wide_line, 64, 64, in));
    READS("__getdelim", "a line\n", strcmp(grown, "a line\n") == 0,
          __getdelim(&grown, &room, '\n', in));
    READS("_IO_flockfile", "a line\n", strcmp(line, "a line\n") == 0, _IO_flockfile(in);
          fgets_unlocked(line, sizeof(line), in); _IO_funlockfile(in));
    free(grown);
}

typedef int with_list(va_list args);

__attribute__((noinline)) static int call_with(with_list *call, ...)
{
    va_list args;
    va_start(args, call);
    int n = call(args);
    va_end(args);
    return n;
}

#define LIST(name, call)                                                                           \
    static int name(va_list args)                                                                  \
    {                                                                                              \
        return call;                                                                               \
    }
LIST(list_vscanf, plain_vscanf("%d %s", args))
LIST(list_vfscanf, plain_vfscanf(in, "%d %s", args))
LIST(list_vwscanf, plain_vwscanf(L"%d %s", args))
LIST(list_vfwscanf, plain_vfwscanf(in, L"%d %s", args))
LIST(list_c99_vscanf, __isoc99_vscanf("%d %s", args))
LIST(list_c99_vfscanf, __isoc99_vfscanf(in, "%d %s", args))
LIST(list_c99_vwscanf, __isoc99_vwscanf(L"%d %s", args))
LIST(list_c99_vfwscanf, __isoc99_vfwscanf(in, L"%d %s", args))

#define SCANS(name, call) READS(name, "12 word\n", number == 12 && strcmp(line, "word") == 0, call)

static void scanning(void)
{
    SCANS("scanf", plain_scanf("%d %s", &number, line));
    SCANS("fscanf", plain_fscanf(in, "%d %s", &number, line));
    SCANS("vscanf", call_with(list_vscanf, &number, line));
    SCANS("vfscanf", call_with(list_vfscanf, &number, line));
    SCANS("wscanf", plain_wscanf(L"%d %s", &number, line));
    SCANS("fwscanf", plain_fwscanf(in, L"%d %s", &number, line));
    SCANS("vwscanf", call_with(list_vwscanf, &number, line));
    SCANS("vfwscanf", call_with(list_vfwscanf, &number, line));
    SCANS("__isoc99_scanf", __isoc99_scanf("%d %s", &number, line));
    SCANS("__isoc99_fscanf", __isoc99_fscanf(in, "%d %s", &number, line));
    SCANS("__isoc99_vscanf", call_with(list_c99_vscanf, &number, line));
    SCANS("__isoc99_vfscanf", call_with(list_c99_vfscanf, &number, line));
    SCANS("__isoc99_wscanf", __isoc99_wscanf(L"%d %s", &number, line));
    SCANS("__isoc99_fwscanf", __isoc99_fwscanf(in, L"%d %s", &number, line));
    SCANS("__isoc99_vwscanf", call_with(list_c99_vwscanf, &number, line));
    SCANS("__isoc99_vfwscanf", call_with(list_c99_vfwscanf, &number, line));
}

static const struct check checks[] = {CHECK(characters), CHECK(lines), CHECK(scanning)};

TICKING_MAIN(checks)
