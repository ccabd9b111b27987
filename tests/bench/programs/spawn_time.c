/* How long it takes to run a program to its end: spawn_time N COMMAND [ARGUMENT...]; microseconds,
 * the median of N. Always native itself; the command may be `env LD_PRELOAD=... /bin/true`. */
#include <spawn.h>
#include <sys/wait.h>

#include "bench.h"

extern char **environ;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    long count = bench_number(argc, argv, 1, 100);
    double *us = calloc((size_t)count, sizeof(*us));

    if (argc < 3 || us == NULL) {
        fprintf(stderr, "usage: spawn_time N COMMAND [ARGUMENT...]\n");
        return 2;
    }
    for (long i = 0; i < count; i++) {
        uint64_t began = bench_now();
        int status;
        pid_t pid;

        bench_must(posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ), argv[2]);
        waitpid(pid, &status, 0);
        if (status != 0) {
            fprintf(stderr, "spawn_time: %s ended with %d\n", argv[2], status);
            return 1;
        }
        us[i] = (double)(bench_now() - began) / 1e3;
    }
    qsort(us, (size_t)count, sizeof(*us), ascending);
    printf("us=%.1f\n", us[count / 2]);
    return 0;
}
