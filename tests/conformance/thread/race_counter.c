/*
 * A data race on purpose: increments without a lock, with calls between the load and the store that never switch.
 * Under --strict exactly one thread runs at a time and switches happen at waiting calls only, so none is lost.
 */
#include "check.h"

#include <sched.h>

enum { THREADS = 8, ROUNDS = 20000 };

static volatile long counter;

static void *count(void *argument)
{
    char text[32];
    for (int i = 0; i < ROUNDS; i++) {
        long seen = counter;
        snprintf(text, sizeof text, "%ld", seen);
        free(malloc(strlen(text)));
        getpid();
        clock_gettime(CLOCK_MONOTONIC, &(struct timespec){ 0, 0 });
        for (volatile int spin = 0; spin < 20; spin++) {
        }
        counter = strtol(text, NULL, 10) + 1;
        if (i % 50 == 49) {
            sched_yield();
        }
        if (i % 5000 == 4999) {
            sleep_ms(1);
        }
    }
    return argument;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i] = start(count, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
    printf("total %ld\n", counter);
    return 0;
}
