/* What the benchmark programs share. They are ordinary pthread programs and print NAME=NUMBER lines.
 * Where one core is always busy, they count its processor time and not the clock's: on a quiet machine
 * it is the same, on a busy one the others' share is left out. */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t bench_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline uint64_t bench_now(void)
{
    return bench_clock(CLOCK_MONOTONIC);
}

/* Nanoseconds of processor time that this process has used. */
static inline uint64_t bench_cpu(void)
{
    return bench_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* The number in argument `i`, or `otherwise`. */
static inline long bench_number(int argc, char **argv, int i, long otherwise)
{
    return argc > i ? atol(argv[i]) : otherwise;
}

static inline void bench_must(int error, const char *what)
{
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        exit(1);
    }
}

static inline void bench_attr(pthread_attr_t *attr, size_t stack)
{
    pthread_attr_init(attr);
    bench_must(pthread_attr_setstacksize(attr, stack), "pthread_attr_setstacksize");
}

/* A field of /proc/self/FILE in its own unit (kB, or a count); -1: not there. */
static inline long bench_proc(const char *file, const char *field)
{
    char path[64], line[256];
    long value = -1;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/%s", file);
    f = fopen(path, "re");
    while (f != NULL && value < 0 && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            value = atol(line + strlen(field));
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return value;
}

#endif
