/*
 * An echo server in one process with a thread that computes for a second of processor time, one that spins on a flag
 * and one that waits for a line in fgets(): the echo is answered meanwhile, and each of them finishes.
 */
#include "check.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { REQUESTS = 300, PATIENCE_MS = 1000 };

static atomic_bool stop, computed;
static int line[2], pair[2];

static void *compute(void *argument)
{
    volatile unsigned long x = 1;
    int64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + 1000000000;
    do {
        for (int i = 0; i < 1000000; i++) {
            x = x * 6364136223846793005UL + 1;
        }
    } while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end);
    atomic_store(&computed, true);
    return argument;
}

static void *spin(void *argument)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    }
    return argument;
}

static void *get_line(void *argument)
{
    char text[16];
    FILE *in = fdopen(line[0], "r");
    EXPECT(in && fgets(text, sizeof text, in));
    fclose(in);
    return argument;
}

static void *echo(void *argument)
{
    char text[64];
    ssize_t n;
    while ((n = recv(pair[1], text, sizeof text, 0)) > 0) {
        EXPECT_EQ(send(pair[1], text, (size_t)n, 0), n);
    }
    return argument;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* In a process of its own: 99 of 100 answers come within the patience of somebody on a busy machine. */
static int client(void)
{
    static int64_t took[REQUESTS];
    char text[64] = "x";
    for (int i = 0; i < REQUESTS; i++) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_EQ(send(pair[0], text, sizeof text, 0), sizeof text);
        EXPECT_EQ(recv(pair[0], text, sizeof text, MSG_WAITALL), sizeof text);
        took[i] = now_ns(CLOCK_MONOTONIC) - began;
        sleep_ms(1);
    }
    qsort(took, REQUESTS, sizeof *took, by_size);
    EXPECT(took[REQUESTS * 99 / 100] < PATIENCE_MS * INT64_C(1000000));
    return 5;
}

static void all_go_on(void)
{
    static void *(*const work[])(void *) = { echo, compute, spin, get_line };
    pthread_t threads[4];
    int status = -1;
    EXPECT_EQ(pipe(line), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[1]);
        int result = client();
        fflush(stdout);
        _exit(check_failures ? 99 : result);
    }
    close(pair[0]);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(work[i], NULL);
    }
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 5);
    finish(threads[1]);
    EXPECT(atomic_load(&computed));
    EXPECT_EQ(write(line[1], "end\n", 4), 4);
    finish(threads[3]);
    atomic_store(&stop, true);
    finish(threads[2]);
    finish(threads[0]);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = { CHECK(all_go_on) };
    return CHECKS_RUN(checks, argc, argv);
}
