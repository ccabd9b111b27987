/* Make a thread that returns at once, and join it: processor nanoseconds for both. */
#include "bench.h"

static void *nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    long count = bench_number(argc, argv, 1, 50000);
    pthread_t thread;
    uint64_t began;

    for (long i = 0; i < 100; i++) { /* the first ones pay for starting up */
        bench_must(pthread_create(&thread, NULL, nothing, NULL), "pthread_create");
        pthread_join(thread, NULL);
    }
    began = bench_cpu();
    for (long i = 0; i < count; i++) {
        bench_must(pthread_create(&thread, NULL, nothing, NULL), "pthread_create");
        pthread_join(thread, NULL);
    }
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)count);
    return 0;
}
