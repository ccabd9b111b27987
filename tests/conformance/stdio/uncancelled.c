/* Streams opened with "c": their reads and writes are no cancellation points. */
#include "check.h"

#include <sys/stat.h>

static int reading;

/* A FIFO, open for reading and for writing. */
static FILE *fifo_open(void)
{
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    FILE *f = fopen("fifo", "r+c");
    if (!f) {
        perror("fifo");
        exit(3);
    }
    EXPECT_EQ(unlink("fifo"), 0);
    return f;
}

static void *write_when_cancelled(void *argument)
{
    pthread_cancel(pthread_self());
    EXPECT_EQ(fputs("all of it\n", argument), 1);
    EXPECT_EQ(fflush(argument), 0);
    atomic_set(&reading, 2);
    pthread_testcancel();
    return argument;
}

static void writes_go_on(void)
{
    char line[32] = "";
    FILE *f = fifo_open();
    atomic_set(&reading, 0);
    EXPECT(finish(start(write_when_cancelled, f)) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reading), 2);
    EXPECT_EQ(read(fileno(f), line, sizeof line - 1), 10);
    EXPECT(strcmp(line, "all of it\n") == 0);
    EXPECT_EQ(fclose(f), 0);
}

static void *read_one(void *argument)
{
    atomic_set(&reading, 1);
    EXPECT_EQ(fgetc(argument), 'x');
    atomic_set(&reading, 2);
    pthread_testcancel();
    return argument;
}

static void reads_go_on(void)
{
    FILE *f = fifo_open();
    atomic_set(&reading, 0);
    pthread_t thread = start(read_one, f);
    EXPECT(wait_for_value(&reading, 1));
    let_others_block();
    EXPECT_EQ(pthread_cancel(thread), 0);
    let_others_block();
    EXPECT_EQ(atomic_get(&reading), 1);
    EXPECT_EQ(write(fileno(f), "x", 1), 1);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reading), 2);
    EXPECT_EQ(fclose(f), 0);
}

static const struct check checks[] = {
    CHECK(writes_go_on),
    CHECK(reads_go_on),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
