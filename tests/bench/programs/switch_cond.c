/* Two threads take turns through a mutex and two conditions: processor nanoseconds per turn. */
#include "bench.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed[2] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};
static int turn;
static long turns;

static void *player(void *arg)
{
    int me = (int)(intptr_t)arg;

    pthread_mutex_lock(&lock);
    for (long i = 0; i < turns; i++) {
        while (turn != me) {
            pthread_cond_wait(&changed[me], &lock);
        }
        turn = !me;
        pthread_cond_signal(&changed[!me]);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    uint64_t began;

    turns = bench_number(argc, argv, 1, 200000);
    bench_must(pthread_create(&other, NULL, player, (void *)1), "pthread_create");
    began = bench_cpu();
    player((void *)0);
    pthread_join(other, NULL);
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)(2 * turns));
    return 0;
}
