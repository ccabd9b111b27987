/* What threads freed before they ended is free: no cache of malloc's outlives them. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 200, SIZES = 60, EACH = 7, ROUNDS = 3 };

static pthread_barrier_t all_hold;

static void *hold_and_free(void *arg)
{
    void *chunk[SIZES * EACH];
    for (int i = 0; i < SIZES * EACH; i++)
        chunk[i] = malloc((size_t)(i % SIZES + 1) * 16);
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < SIZES * EACH; i++)
        free(chunk[i]);
    return arg;
}

/* A thread that ends with a cache that another one filled would free it twice. */
static void *use_again(void *arg)
{
    for (int i = 0; i < SIZES; i++)
        free(malloc((size_t)(i + 1) * 16));
    return arg;
}

static void run(void *(*f)(void *))
{
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, f, NULL) != 0)
            puts("FAIL: pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

int main(void)
{
    pthread_barrier_init(&all_hold, NULL, THREADS);
    for (int round = 0; round < ROUNDS; round++) {
        size_t before = mallinfo2().uordblks;
        run(hold_and_free);
        size_t after = mallinfo2().uordblks;
        /* Caches would hold 40 MiB; what libc keeps with a thread's stack is small. */
        printf("round %d: %s\n", round, after < before + (1 << 20) ? "given back" : "kept");
        if (after >= before + (1 << 20))
            printf("FAIL: %zu bytes in use, %zu before\n", after, before);
        run(use_again);
    }
    return 0;
}
