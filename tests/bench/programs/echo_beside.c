/* An echo server in a process where one thread computes, one spins on a flag and one blocks in fgets():
 * what a client in another process sees of it. Arguments: requests. Prints the latency's median, 99th
 * percentile and most, in microseconds. */
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static atomic_int stop;
static int line[2], pair[2];

static void *compute(void *arg)
{
    volatile uint64_t x = 1;

    while (!atomic_load(&stop)) {
        for (int i = 0; i < 1000000; i++) {
            x = x * 6364136223846793005u + 1;
        }
    }
    return arg;
}

static void *spin(void *arg)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    }
    return arg;
}

static void *get_line(void *arg)
{
    char text[64];
    FILE *in = fdopen(line[0], "r");

    return in != NULL && fgets(text, sizeof(text), in) != NULL ? arg : NULL;
}

static void *echo(void *arg)
{
    char text[64];
    ssize_t n;

    while ((n = recv(pair[1], text, sizeof(text), 0)) > 0) {
        if (send(pair[1], text, (size_t)n, 0) != n) {
            break;
        }
    }
    return arg;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int client(long n)
{
    uint64_t *all = calloc((size_t)n, sizeof(*all));
    char text[64] = "x";

    usleep(100000);
    for (long i = 0; i < n; i++) {
        uint64_t start = bench_now();
        if (send(pair[0], text, sizeof(text), 0) != sizeof(text) ||
            recv(pair[0], text, sizeof(text), MSG_WAITALL) != sizeof(text)) {
            return 1;
        }
        all[i] = bench_now() - start;
        usleep(2000);
    }
    qsort(all, (size_t)n, sizeof(*all), by_size);
    printf("us=%.1f\np99_us=%.1f\nmost_us=%.1f\n", (double)all[n / 2] / 1e3, (double)all[n * 99 / 100] / 1e3,
           (double)all[n - 1] / 1e3);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    static void *(*const work[])(void *) = {echo, compute, spin, get_line};
    pthread_t threads[4];
    long n = bench_number(argc, argv, 1, 1000);
    int status = 1;

    if (n < 1 || pipe(line) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return 2;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[1]);
        _exit(client(n));
    }
    close(pair[0]);
    for (int i = 0; i < 4; i++) {
        bench_must(pthread_create(&threads[i], NULL, work[i], &stop), "pthread_create");
    }
    waitpid(pid, &status, 0);
    atomic_store(&stop, 1);
    if (write(line[1], "end\n", 4) != 4) {
        return 1;
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        if (result != &stop) {
            return 1;
        }
    }
    return status != 0;
}
