/* 100,000 sleeps of 5 to 25 ms by 5,000 threads: processor time per sleep, and how late they end. */
#include <stdatomic.h>

#include "bench.h"

static long each;
static atomic_ulong late;

static void *sleeper(void *arg)
{
    uint64_t x = (uint64_t)(uintptr_t)arg * 2654435761u + 1, lateness = 0;

    for (long i = 0; i < each; i++) {
        struct timespec t = {0};
        uint64_t began, slept;

        x = x * 6364136223846793005ull + 1442695040888963407ull;
        t.tv_nsec = 5000000 + (long)((x >> 33) % 20000000);
        began = bench_now();
        nanosleep(&t, NULL);
        slept = bench_now() - began;
        if (slept < (uint64_t)t.tv_nsec) {
            fprintf(stderr, "sleeps: woke too early\n");
            exit(1);
        }
        lateness += slept - (uint64_t)t.tv_nsec;
    }
    atomic_fetch_add(&late, lateness);
    return NULL;
}

int main(int argc, char **argv)
{
    long threads = bench_number(argc, argv, 1, 5000), sleeps;
    pthread_t *all = calloc((size_t)threads, sizeof(*all));
    pthread_attr_t attr;
    uint64_t cpu;

    each = bench_number(argc, argv, 2, 20);
    sleeps = threads * each;
    bench_attr(&attr, 65536);
    cpu = bench_cpu();
    for (long i = 0; i < threads; i++) {
        bench_must(pthread_create(&all[i], &attr, sleeper, (void *)(intptr_t)i), "pthread_create");
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(all[i], NULL);
    }
    printf("cpu_us=%.3f\nlate_us=%.1f\n", (double)(bench_cpu() - cpu) / 1e3 / (double)sleeps,
           (double)atomic_load(&late) / 1e3 / (double)sleeps);
    return 0;
}
