/* The standard streams: input from a pipe that fills slowly, by every call that reads stdin
 * without being told so; threads that print meanwhile. */
#include "kit/expect.h"
#include "kit/threads.h"

static int feed;

static void put_slowly(void *text)
{
    const char *all = text;
    size_t half = strlen(all) / 2;
    MUST(write(feed, all, half));
    ticker_wait(5);
    MUST(write(feed, all + half, strlen(all) - half));
}

static void new_input(void)
{
    int ends[2];
    MUST(pipe(ends));
    MUST(dup2(ends[0], STDIN_FILENO));
    close(ends[0]);
    feed = ends[1];
    clearerr(stdin);
}

static void reading(void)
{
    int c, number = 0, count;
    char word[16] = "", *line = NULL;
    size_t room = 0;
    ssize_t n;
    new_input();
    WHILE(put_slowly, "xy", c = getchar());
    EQUALS(c, 'x', "getchar");
    EQUALS(getchar_unlocked(), 'y', "getchar_unlocked");
    WHILE(put_slowly, "42 words\n", count = scanf("%d %15s", &number, word));
    EQUALS(count, 2, "scanf");
    HOLDS(number == 42 && strcmp(word, "words") == 0, "what it read");
    EQUALS(getchar(), '\n', "the rest");
    WHILE(put_slowly, "a line\n", n = getline(&line, &room, stdin));
    HOLDS(n == 7 && strcmp(line, "a line\n") == 0, "getline");
    WHILE(put_slowly, "by descriptor", n = read(STDIN_FILENO, word, 15));
    HOLDS(n >= 1, "read of the descriptor");
    close(feed);
    while (read(STDIN_FILENO, word, 15) > 0)
        continue;
    EQUALS(getchar(), EOF, "the end");
    free(line);
}

/* A prompt: reading a line-buffered terminal flushes stdout natively; a pipe does not. What must
 * hold is that printing goes on while another thread waits for input. */
static atomic_int printed;

static void *printer(void *unused)
{
    (void)unused;
    FILE *null = fopen("/dev/null", "w");
    for (int i = 0; i < 50; i++) {
        fprintf(null, "line %d\n", i);
        fprintf(stderr, "%s", "");
        atomic_fetch_add(&printed, 1);
        sched_yield();
    }
    fclose(null);
    MUST(write(feed, "go\n", 3));
    return NULL;
}

static void printing_meanwhile(void)
{
    char line[16];
    new_input();
    pthread_t thread = start(printer, NULL);
    HOLDS(fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "go\n") == 0,
          "input that comes after the other thread's output");
    EQUALS(atomic_load(&printed), 50, "all of which was printed meanwhile");
    finish(thread);
    close(feed);
}

/* exit while another thread waits in stdin: the process ends, what was printed is written. */
static void *wait_for_input(void *unused)
{
    (void)unused;
    return (void *)(long)getchar();
}

static int exit_beside_a_reader(void)
{
    new_input();
    freopen("/dev/null", "w", stdout);
    start(wait_for_input, NULL);
    sleep_ms(20);
    exit(7);
}

static int output_end;

static int exit_flushes(void)
{
    dup2(output_end, STDOUT_FILENO);
    setvbuf(stdout, NULL, _IOFBF, 4096);
    start(wait_for_input, NULL);
    sleep_ms(20);
    fputs("printed before exit", stdout);
    exit(8);
}

static void at_exit(void)
{
    int ends[2];
    char got[64] = "";
    EXPECT_EXITS(child_run(exit_beside_a_reader), 7);
    MUST(pipe(ends));
    output_end = ends[1];
    new_input();
    EXPECT_EXITS(child_run(exit_flushes), 8);
    close(feed);
    close(ends[1]);
    EQUALS(read(ends[0], got, sizeof(got)), 19, "exit writes what was printed");
    BYTES(got, "printed before exit", 19, "all of it");
    close(ends[0]);
}

static const struct check checks[] = {CHECK(reading), CHECK(printing_meanwhile), CHECK(at_exit)};

TICKING_MAIN(checks)
