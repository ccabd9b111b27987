/* A mutex that nobody else wants, locked and unlocked: mutex alone|second [N]. `second`: another
 * thread is alive (asleep), so libc's single-threaded short cuts are over. */
#include <unistd.h>

#include "bench.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *sleeper(void *arg)
{
    (void)arg;
    for (;;) {
        sleep(1000);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long count = bench_number(argc, argv, 2, 20000000);
    uint64_t began;

    if (argc > 1 && strcmp(argv[1], "second") == 0) {
        pthread_t other;

        bench_must(pthread_create(&other, NULL, sleeper, NULL), "pthread_create");
        usleep(1000);
    }
    began = bench_cpu();
    for (long i = 0; i < count; i++) {
        pthread_mutex_lock(&lock);
        pthread_mutex_unlock(&lock);
    }
    printf("ns=%.2f\n", (double)(bench_cpu() - began) / (double)count);
    return 0;
}
