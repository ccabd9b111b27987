/* syslog that copies its message to standard error, where nobody reads yet: other threads go on,
 * one that wants to log too waits for its turn, and then every line is there. */
#include <stdarg.h>
#include <syslog.h>

#include "kit/expect.h"
#include "kit/threads.h"

/* Fortified twins, which only headers' macros name. */
extern void __syslog_chk(int priority, int flag, const char *format, ...);
extern void __vsyslog_chk(int priority, int flag, const char *format, va_list ap);

static int ends[2], saved;
static atomic_int drained;
static char last[65536 + 256];

static void fill(void)
{
    static char block[65536];
    memset(block, '.', sizeof(block));
    MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    while (write(ends[1], block, sizeof(block)) > 0)
        continue;
    MUST(fcntl(ends[1], F_SETFL, 0));
    atomic_store(&drained, 0);
}

static void drain(void *unused)
{
    (void)unused;
    atomic_store(&drained, 1);
    MUST(read(ends[0], last, 65536));
}

/* What came after the dots. */
static void came(const char *line)
{
    ssize_t n = MUST(read(ends[0], last, sizeof(last) - 1));
    last[n > 0 ? n : 0] = '\0';
    HOLDS(strstr(last, line) != NULL, "the line was written");
    EQUALS(atomic_load(&drained), 1, "after it was read from the pipe");
}

static void log_args(void (*log)(int, const char *, va_list), const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    log(LOG_DEBUG, format, ap);
    va_end(ap);
}

static void checked(int priority, const char *format, va_list ap)
{
    __vsyslog_chk(priority, 1, format, ap);
}

static void begin(void)
{
    MUST(pipe(ends));
    saved = MUST(dup(2));
    MUST(dup2(ends[1], 2));
    openlog("coverage", LOG_PERROR | LOG_NDELAY, LOG_USER);
}

static void end(void)
{
    closelog();
    MUST(dup2(saved, 2));
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

static void every_form(void)
{
    begin();
    fill();
    WHILE(drain, NULL, syslog(LOG_DEBUG, "line %d", 1));
    came("coverage: line 1\n");
    fill();
    WHILE(drain, NULL, log_args(vsyslog, "line %d", 2));
    came("coverage: line 2\n");
    fill();
    WHILE(drain, NULL, __syslog_chk(LOG_DEBUG, 1, "line %d", 3));
    came("coverage: line 3\n");
    fill();
    WHILE(drain, NULL, log_args(checked, "line %d", 4));
    came("coverage: line 4\n");
    end();
}

static void *log_too(void *number)
{
    syslog(LOG_DEBUG, "thread %d", (int)(intptr_t)number);
    return NULL;
}

static void in_turn(void)
{
    pthread_t threads[8];
    size_t got = 0, lines = 0;
    begin();
    fill();
    for (int i = 0; i < 8; i++)
        threads[i] = start(log_too, (void *)(intptr_t)i);
    ticker_wait(20);
    while (lines < 8) {
        ssize_t n = MUST(read(ends[0], last + got, sizeof(last) - got - 1));
        size_t dots = 0;
        for (ssize_t i = 0; i < n; i++) {
            lines += last[got + (size_t)i] == '\n';
            dots += last[got + (size_t)i] == '.';
        }
        got = dots == (size_t)n ? 0 : got + (size_t)n;
    }
    for (int i = 0; i < 8; i++)
        finish(threads[i]);
    last[got] = '\0';
    for (int i = 0; i < 8; i++) {
        char line[64];
        snprintf(line, sizeof(line), "coverage: thread %d\n", i);
        HOLDS(strstr(last, line) != NULL, "each line is whole");
    }
    end();
}

static const struct check checks[] = {CHECK(every_form), CHECK(in_turn)};

TICKING_MAIN(checks)
