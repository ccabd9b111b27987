/* popen and pclose: reading from and writing to a child that takes its time, statuses, several at
 * once. */
#include <sys/wait.h>

#include "kit/expect.h"
#include "kit/threads.h"

/* What children wait for before they go on; another thread writes it. */
static int feed[2];

static void let_go(void *unused)
{
    (void)unused;
    MUST(write(feed[1], "\n", 1));
}

static FILE *popen_with_feed(const char *format)
{
    char command[128];
    MUST(pipe(feed));
    snprintf(command, sizeof(command), format, feed[0], feed[0]);
    FILE *stream = popen(command, "r");
    MUST_BE(stream != NULL);
    return stream;
}

static void close_feed(void)
{
    close(feed[0]);
    close(feed[1]);
}

static void reading(void)
{
    char line[64];
    char *result;
    FILE *in = popen_with_feed("read x <&%d; echo one; read x <&%d; echo two");
    WHILE(let_go, NULL, result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "one\n") == 0, "the first line");
    WHILE(let_go, NULL, result = fgets(line, sizeof(line), in));
    HOLDS(result == line && strcmp(line, "two\n") == 0, "the second");
    HOLDS(fgets(line, sizeof(line), in) == NULL && feof(in), "the end");
    EQUALS(pclose(in), 0, "pclose");
    close_feed();
}

static void writing(void)
{
    char line[64];
    int ends[2];
    MUST(pipe(ends));
    snprintf(line, sizeof(line), "sleep 0.05; cat >&%d", ends[1]);
    FILE *out = popen(line, "w");
    MUST_BE(out != NULL);
    close(ends[1]);
    EQUALS(fprintf(out, "to the child\n"), 13, "fprintf");
    EQUALS(pclose(out), 0, "pclose waits for the child");
    EQUALS(read(ends[0], line, sizeof(line)), 13, "which got it");
    BYTES(line, "to the child\n", 13, "all of it");
    close(ends[0]);
}

/* More than the pipe holds, to a child that reads late. */
static void writing_much(void)
{
    static char block[300000];
    memset(block, 'x', sizeof(block));
    FILE *out = popen("sleep 0.1; test $(wc -c) = 300000", "w");
    MUST_BE(out != NULL);
    EQUALS(fwrite(block, 1, sizeof(block), out), sizeof(block), "fwrite waits for the child");
    EQUALS(pclose(out), 0, "which got all");
}

static void statuses(void)
{
    FILE *stream = popen("exit 7", "r");
    int status = pclose(stream);
    EXPECT_EXITS(status, 7);
    stream = popen("kill -TERM $$", "r");
    status = pclose(stream);
    EXPECT_KILLED(status, SIGTERM);
    stream = popen("exec /no/such/program 2>/dev/null", "r");
    status = pclose(stream);
    EXPECT_EXITS(status, 127);
    int64_t began = moment();
    stream = popen("exec >&-; sleep 0.15", "r");
    MUST_BE(stream != NULL);
    EQUALS(fgetc(stream), EOF, "a child that closes its output");
    EQUALS(pclose(stream), 0, "pclose waits for its end");
    LASTED(began, 150, "all the time");
    HOLDS(popen("true", "x") == NULL && errno == EINVAL, "an unknown way");
    stream = popen("true", "re");
    EQUALS(fcntl(fileno(stream), F_GETFD), FD_CLOEXEC, "close-on-exec");
    EQUALS(pclose(stream), 0, "pclose");
    EQUALS(fclose(fopen("/dev/null", "r")), 0, "fclose of an ordinary stream");
}

static void pclose_waits(void)
{
    int status;
    FILE *stream = popen_with_feed("exec >&-; read x <&%d; exit 5");
    WHILE(let_go, NULL, status = pclose(stream));
    EXPECT_EXITS(status, 5);
    close_feed();
}

/* Several threads with a child each, at once. */
static void *child_of_a_thread(void *arg)
{
    char command[96], line[64], want[64];
    snprintf(command, sizeof(command), "sleep 0.0%ld; echo thread %ld; exit %ld", (long)arg,
             (long)arg, (long)arg);
    snprintf(want, sizeof(want), "thread %ld\n", (long)arg);
    FILE *in = popen(command, "r");
    bool right = in != NULL && fgets(line, sizeof(line), in) != NULL && strcmp(line, want) == 0;
    int status = pclose(in);
    return (void *)(long)(right && WIFEXITED(status) && WEXITSTATUS(status) == (long)arg);
}

static void several_at_once(void)
{
    enum { several = 8 };
    pthread_t threads[several];
    long right = 0;
    for (long i = 0; i < several; i++)
        threads[i] = start(child_of_a_thread, (void *)i);
    for (int i = 0; i < several; i++)
        right += (long)finish(threads[i]);
    EQUALS(right, several, "each got its child's line and status");
}

/* A child of popen and one of fork: each is waited for by its own call. */
static void beside_other_children(void)
{
    FILE *stream = popen("cat", "w");
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(9);
    int status = -1;
    EQUALS(waitpid(child, &status, 0), child, "another child is waited for");
    EXPECT_EXITS(status, 9);
    EQUALS(pclose(stream), 0, "and popen's own");
}

static const struct check checks[] = {
    CHECK(reading),      CHECK(writing),         CHECK(writing_much), CHECK(statuses),
    CHECK(pclose_waits), CHECK(several_at_once), 
    CHECK(beside_other_children),
};

TICKING_MAIN(checks)
