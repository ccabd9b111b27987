/* One broadcast wakes 10,000 threads: processor microseconds until the last has
 * run, mean of the rounds. */
#include "bench.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static long threads, rounds, round_now, waiting;

static void *waiter(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    for (long seen = 0; seen < rounds; seen++) {
        if (++waiting == threads) {
            pthread_cond_signal(&done);
        }
        while (round_now == seen) {
            pthread_cond_wait(&go, &lock);
        }
    }
    if (++waiting == threads) {
        pthread_cond_signal(&done);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void await_all(void)
{
    while (waiting < threads) {
        pthread_cond_wait(&done, &lock);
    }
    waiting = 0;
}

int main(int argc, char **argv)
{
    pthread_t *all;
    pthread_attr_t attr;
    uint64_t spent = 0;

    threads = bench_number(argc, argv, 1, 10000);
    rounds = bench_number(argc, argv, 2, 10);
    all = calloc((size_t)threads, sizeof(*all));
    bench_attr(&attr, 65536);
    for (long i = 0; i < threads; i++) {
        bench_must(pthread_create(&all[i], &attr, waiter, NULL), "pthread_create");
    }
    pthread_mutex_lock(&lock);
    await_all();
    for (long i = 0; i < rounds; i++) {
        uint64_t began = bench_cpu();

        round_now++;
        pthread_cond_broadcast(&go);
        await_all();
        spent += bench_cpu() - began;
    }
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < threads; i++) {
        pthread_join(all[i], NULL);
    }
    printf("us=%.1f\n", (double)spent / 1e3 / (double)rounds);
    return 0;
}
