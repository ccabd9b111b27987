/* Streams and passwords on a terminal, and syslog. */
#include <pty.h>
#include <sys/wait.h>
#include <syslog.h>
#include <utmp.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int master, slave;

static void type_slowly(void *text)
{
    const char *all = text;
    size_t half = strlen(all) / 2;
    MUST(write(master, all, half));
    ticker_wait(5);
    MUST(write(master, all + half, strlen(all) - half));
}

static void lines(void)
{
    char got[64];
    char *result;
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    FILE *in = fdopen(slave, "r+");
    WHILE(type_slowly, "a line\n", result = fgets(got, sizeof(got), in));
    HOLDS(result == got && strcmp(got, "a line\n") == 0, "fgets waits for a line");
    int c;
    WHILE(type_slowly, "x\n", c = getc(in));
    EQUALS(c, 'x', "getc waits for a line too");
    EQUALS(getc(in), '\n', "the rest of it");
    WHILE(type_slowly, "\004", c = getc(in));
    EQUALS(c, EOF, "the end of file");
    clearerr(in);
    int number = 0, count;
    WHILE(type_slowly, "123\n", count = fscanf(in, "%d", &number));
    EQUALS(count, 1, "fscanf waits for a line");
    EQUALS(number, 123, "its number");
    fclose(in);
    close(master);
}

/* The child has the terminal as its own. While it asks, a thread of it goes on, and only then is
 * it answered. */
static int progress[2];

static void *go_on(void *unused)
{
    (void)unused;
    for (;;) {
        sleep_ms(1);
        if (write(progress[1], "p", 1) != 1)
            return NULL;
    }
}

static int ask(void)
{
    close(master);
    if (login_tty(slave) != 0)
        return 2;
    start(go_on, NULL);
    char *word = getpass("Password: ");
    return word != NULL && strcmp(word, "secret") == 0 ? 0 : 4;
}

static void *answer(void *unused)
{
    char seen[256] = "", steps[256];
    size_t length = 0;
    (void)unused;
    while (strstr(seen, "Password: ") == NULL && length < sizeof(seen) - 1) {
        ssize_t n = read(master, seen + length, sizeof(seen) - 1 - length);
        if (n <= 0)
            return (void *)1;
        length += (size_t)n;
    }
    sleep_ms(20);
    for (int i = 0; i < 5; i++)
        if (read(progress[0], steps, sizeof(steps)) <= 0)
            return (void *)1;
    MUST(write(master, "secret\n", 7));
    return NULL;
}

static void password(void)
{
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    MUST(pipe(progress));
    pthread_t thread = start(answer, NULL);
    int status = child_run(ask);
    EXPECT_EXITS(status, 0);
    EQUALS((long)finish(thread), 0, "the prompt came, and its thread went on");
    close(progress[0]);
    close(progress[1]);
    close(slave);
    close(master);
}

static int log_end;

static int write_log(void)
{
    dup2(log_end, STDERR_FILENO);
    openlog("conformance", LOG_PERROR, LOG_USER);
    syslog(LOG_INFO, "message %d", 1);
    syslog(LOG_ERR, "message %s", "two");
    closelog();
    return 0;
}

static void logging(void)
{
    int ends[2];
    char got[128] = "";
    MUST(pipe(ends));
    log_end = ends[1];
    EXPECT_EXITS(child_run(write_log), 0);
    close(ends[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], got + length, sizeof(got) - 1 - length)) > 0)
        length += (size_t)n;
    HOLDS(strcmp(got, "conformance: message 1\nconformance: message two\n") == 0, "syslog");
    close(ends[0]);
}

static const struct check checks[] = {CHECK(lines), CHECK(password), CHECK(logging)};

TICKING_MAIN(checks)
