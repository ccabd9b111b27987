/* A green thread that calls a blocking function of a library that nobody patches, one that computes
 * for long, and others that want to go on. Ends by itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

void foreign_library_wait(long ms);

static volatile uint64_t sink;

__attribute__((noinline)) static void compute_for_long(void)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 100000; i++)
            sink++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 400);
}

__attribute__((noinline)) static void calls_the_library(void)
{
    for (int i = 0; i < 3; i++) {
        foreign_library_wait(300);
        usleep(1000);
    }
}

static void *blocker(void *unused)
{
    calls_the_library();
    return unused;
}

static void *computer(void *unused)
{
    compute_for_long();
    return unused;
}

static void *polite(void *unused)
{
    for (int i = 0; i < 50; i++)
        usleep(2000);
    return unused;
}

int main(void)
{
    pthread_t t[3];
    pthread_create(&t[0], NULL, polite, NULL);
    puts("ready");
    fflush(stdout);
    pthread_create(&t[1], NULL, blocker, NULL);
    pthread_setname_np(t[1], "blocker");
    pthread_join(t[1], NULL);
    pthread_create(&t[2], NULL, computer, NULL);
    pthread_setname_np(t[2], "computer");
    for (int i = 0; i < 3; i += 2)
        pthread_join(t[i], NULL);
    return 0;
}
