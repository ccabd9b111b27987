/* Two threads that do nothing but sched_yield: processor nanoseconds per yield. */
#include <sched.h>

#include "bench.h"

static long yields;

static void *yielder(void *arg)
{
    (void)arg;
    for (long i = 0; i < yields; i++) {
        sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    uint64_t began;

    yields = bench_number(argc, argv, 1, 1000000);
    bench_must(pthread_create(&other, NULL, yielder, NULL), "pthread_create");
    began = bench_cpu();
    yielder(NULL);
    pthread_join(other, NULL);
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)(2 * yields));
    return 0;
}
