/* What the runtime shares between OS threads, as far as no green thread is needed for it, for
 * ThreadSanitizer (make races): wait queues, park and unpark, helper threads, memory. On an OS thread that
 * is not the runtime's each of them parks on a futex. Green threads themselves are out of its reach: its
 * notes on a thread lie in libc's control block, and a green thread has its own.
 *
 * Whatever is passed on here is plain memory, so that an order which the code does not make is a race.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen/real.h"
#include "hub/alloc.h"
#include "hub/hub.h"
#include "hub/internal.h"

enum { THREADS = 6, ROUNDS = 20000, KEYS = 3, MS = 1000000 };

static int failures;

static void expect(int holds, const char *what)
{
    if (!holds) {
        __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
        fprintf(stderr, "FAIL %s\n", what);
    }
}

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

static void run(void *(*body)(void *), const char *name)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, body, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("ok %s\n", name);
}

/* ---- A lock of wait_on() and wake() ---- */

static _Atomic int lock_word; /* 2: somebody may wait */
static long guarded;

static bool lock_is_free(void *arg)
{
    (void)arg;
    return atomic_load(&lock_word) != 2;
}

static void *count(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int zero = 0;
        if (!atomic_compare_exchange_strong(&lock_word, &zero, 1))
            while (atomic_exchange(&lock_word, 2))
                wait_on(WAIT_MUTEX, &lock_word, WAIT_ANY_BITS, lock_is_free, NULL,
                        next(&seed) % 4 ? DEADLINE_NEVER : clock_now() + MS, 0);
        guarded++;
        if (atomic_exchange(&lock_word, 0) == 2)
            wake(WAIT_MUTEX, &lock_word, 1, WAIT_ANY_BITS);
    }
    return NULL;
}

/* ---- Wakes, time-outs and moves between queues at random ---- */

static char keys[KEYS];
static _Atomic long done;

static void *wait_and_wake(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    for (int i = 0; i < ROUNDS / 4; i++) {
        const void *key = &keys[next(&seed) % KEYS], *other = &keys[next(&seed) % KEYS];
        size_t moved;
        switch (next(&seed) % 4) {
        case 0:
            wait_on(WAIT_FUTEX, key, 1u << next(&seed) % 4, NULL, NULL,
                    clock_now() + next(&seed) % MS, 0);
            break;
        case 1:
            if (key != other)
                wait_requeue(WAIT_FUTEX, key, 1, other, 2, NULL, NULL, &moved);
            break;
        default:
            wake(WAIT_FUTEX, key, 2, 1u << next(&seed) % 4);
        }
    }
    atomic_fetch_add(&done, 1);
    return NULL;
}

/* ---- Calls on helper threads ---- */

struct call {
    long asked, answered;
};

static long answer(void *arg)
{
    struct call *c = arg;
    c->answered = 2 * c->asked;
    return c->asked;
}

static void *call_helpers(void *arg)
{
    for (long i = 0; i < ROUNDS / 8; i++) {
        struct call c = {.asked = i};
        expect(offload(answer, &c, i % 2 ? WAIT_BY_SIGNAL : 0) == i, "a helper's result");
        expect(c.answered == 2 * i, "what a helper wrote");
    }
    return arg;
}

/* ---- Memory ---- */

static void *allocate(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    char *kept[16] = {0};
    for (int i = 0; i < ROUNDS; i++) {
        unsigned slot = next(&seed) % 16, size = next(&seed) % 600 + 1;
        green_free(kept[slot]);
        kept[slot] = green_alloc(size);
        memset(kept[slot], (int)slot, size);
    }
    for (int i = 0; i < 16; i++)
        green_free(kept[i]);
    return NULL;
}

int main(void)
{
    real.pthread_create = pthread_create; /* ThreadSanitizer's, or it would not know the helpers */
    hub_settings.offload_threads = 4;
    run(count, "a lock");
    expect(guarded == (long)THREADS * ROUNDS, "the count under a lock");
    run(wait_and_wake, "wakes and moves");
    run(call_helpers, "helper threads");
    run(allocate, "memory");
    return failures != 0;
}
