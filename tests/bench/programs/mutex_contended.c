/* Eight threads want one mutex; every sixteenth time its holder lets others run meanwhile, so that
 * they really meet: processor nanoseconds per lock + unlock. */
#include <sched.h>

#include "bench.h"

#define THREADS 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long rounds, total;

static void *worker(void *arg)
{
    (void)arg;
    for (long i = 0; i < rounds; i++) {
        pthread_mutex_lock(&lock);
        total++;
        if (i % 16 == 0) {
            sched_yield();
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    uint64_t began;

    rounds = bench_number(argc, argv, 1, 200000);
    began = bench_cpu();
    for (int i = 0; i < THREADS; i++) {
        bench_must(pthread_create(&threads[i], NULL, worker, NULL), "pthread_create");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    if (total != THREADS * rounds) {
        fprintf(stderr, "mutex_contended: counted %ld of %ld\n", total, THREADS * rounds);
        return 1;
    }
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)total);
    return 0;
}
