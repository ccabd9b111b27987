/* hub/alloc.c: the runtime's own memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub/alloc.h"

/* Block number `i` of `size` bytes, filled so that an overlap with another shows. */
static unsigned char *filled(size_t size, unsigned i)
{
    unsigned char *p = green_alloc(size);
    cr_assert(p != NULL);
    memset(p, (int)(i & 255), size);
    return p;
}

static void check_filled(const unsigned char *p, size_t size, unsigned i)
{
    for (size_t k = 0; k < size; k++)
        cr_assert(p[k] == (i & 255), "byte %zu of a block of %zu was overwritten", k, size);
}

Test(alloc, blocks_of_every_size_are_aligned_and_do_not_overlap)
{
    enum { COUNT = 2000 };
    static unsigned char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = filled(i * 37, i);
        cr_assert((uintptr_t)blocks[i] % 16 == 0);
    }
    for (unsigned i = 0; i < COUNT; i++)
        check_filled(blocks[i], i * 37, i);
    for (unsigned i = 0; i < COUNT; i++)
        green_free(blocks[i]);
}

Test(alloc, sizes_around_each_class_limit_hold_what_was_asked_for)
{
    for (size_t limit = 32; limit <= 128 * 1024; limit += limit / 2)
        for (size_t size = limit - 33; size < limit + 33; size++) {
            unsigned char *a = filled(size, 1), *b = filled(size, 2);
            check_filled(a, size, 1);
            check_filled(b, size, 2);
            green_free(a);
            green_free(b);
        }
}

Test(alloc, freed_memory_is_used_again)
{
    void *p = green_alloc(100);
    green_free(p);
    cr_assert(green_alloc(90) == p);
}

Test(alloc, calloc_gives_zeroes_in_used_memory)
{
    green_free(filled(200, 255));
    unsigned char *p = green_calloc(20, 10);
    check_filled(p, 200, 0);
}

Test(alloc, realloc_keeps_the_contents_from_small_to_huge_and_back)
{
    unsigned char *p = green_realloc(NULL, 10);
    memset(p, 7, 10);
    static const size_t sizes[] = {40, 4000, 40000, 400000, 4000000, 50000, 500, 12};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        p = green_realloc(p, sizes[i]);
        cr_assert(p != NULL);
        check_filled(p, 10, 7);
        p[sizes[i] - 1] = 7;
    }
    green_free(p);
}

Test(alloc, what_cannot_be_is_NULL_and_keeps_errno)
{
    errno = EPIPE;
    cr_assert(green_alloc(SIZE_MAX) == NULL);
    cr_assert(green_alloc((size_t)1 << 60) == NULL);
    cr_assert(green_calloc(SIZE_MAX / 2, 3) == NULL);
    void *p = green_alloc(20);
    cr_assert(green_realloc(p, SIZE_MAX - 8) == NULL);
    green_free(p);
    green_free(NULL);
    cr_assert(errno == EPIPE);
}

enum { THREADS = 4, ROUNDS = 20000, KEPT = 32 };

static void *churn(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    unsigned char *kept[KEPT] = {0};
    size_t sizes[KEPT] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        state = state * 1664525 + 1013904223;
        unsigned slot = state >> 8 & (KEPT - 1);
        if (kept[slot])
            check_filled(kept[slot], sizes[slot], (unsigned)(uintptr_t)arg + slot);
        green_free(kept[slot]);
        sizes[slot] = state >> 16 & 2047;
        kept[slot] = filled(sizes[slot], (unsigned)(uintptr_t)arg + slot);
    }
    return NULL;
}

Test(alloc, threads_never_get_the_same_block, .timeout = 60)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, churn, (void *)(i * 64 + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}
