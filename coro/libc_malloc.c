/* malloc's cache of a thread: freed chunks that other threads cannot use, and that keep the memory
 * around them from going back to the kernel. A coroutine's ends with the coroutine, as libc's threads'
 * do: after a peak thousands of finished ones would otherwise hold it for ever.
 */
#include "coro/libc_malloc.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "coro/libc_tls.h"
#include "coro/sys.h"

enum {
    BINS = 64,
    FULL = UINT16_MAX, /* no bin may hold more, whatever glibc.malloc.tcache_count says */
    CHUNK_FLAGS = 7,
    TRIAL = 24, /* bytes of the smallest chunk, which lies in the first bin */
};

/* A free chunk in a cache, as the program saw it. */
struct chunk {
    uintptr_t next; /* mangled with the place where it stands */
    uintptr_t key;  /* marks a cached chunk */
};

/* struct tcache_perthread_struct of glibc 2.36. */
struct cache {
    uint16_t count[BINS];
    struct chunk *bin[BINS];
};

static ptrdiff_t place; /* of the pointer to the cache, from the thread pointer; 0: not known */

/* To free() every bin of this one is full, so that a chunk goes past it. Never written. */
static struct cache full;

static struct chunk *chunk_next(const struct chunk *c)
{
    return (struct chunk *)(c->next ^ ((uintptr_t)&c->next >> 12));
}

static bool is_mapped(uintptr_t address)
{
    unsigned char unused;
    return sys_3(SYS_mincore, address & ~(uintptr_t)4095, 1, &unused) == 0;
}

/* Might `value` point to a cache? One is a chunk of malloc's, with its size before it. */
static bool looks_like_cache(uintptr_t value)
{
    enum { HEADER = sizeof(size_t), CHUNK = (sizeof(struct cache) + HEADER + 15) / 16 * 16 };
    if (value < 1 << 16 || value % 16 != 0 || !is_mapped(value - HEADER))
        return false;
    size_t size;
    memcpy(&size, (const void *)(value - HEADER), sizeof size);
    return (size & ~(size_t)CHUNK_FLAGS) == CHUNK;
}

/* What was freed last must be the first chunk of its bin. */
static bool is_cache(const struct cache *cache)
{
    void *volatile chunk = malloc(TRIAL);
    if (!chunk)
        return false;
    free(chunk);
    return cache->count[0] > 0 && (void *)cache->bin[0] == chunk;
}

void libc_malloc_start(uintptr_t tp)
{
    uintptr_t low, end;
    void *volatile chunk = malloc(TRIAL); /* now there is a cache, or never */
    free(chunk);
    memset(full.count, 0xff, sizeof full.count);
    if (!libc_tls_own(tp, &low, &end))
        return;
    for (uintptr_t at = low; at + sizeof(uintptr_t) <= end; at += sizeof(uintptr_t)) {
        uintptr_t value = *(uintptr_t *)at;
        if (looks_like_cache(value) && is_cache((struct cache *)value))
            place = (ptrdiff_t)(at - tp);
    }
}

/* The compiler knows of free() that it looks at nothing, and would leave out the stores before it. */
static void (*volatile give_back)(void *) = free;

static void cache_free(struct cache *cache)
{
    for (size_t i = 0; i < BINS; i++) {
        struct chunk *next;
        for (struct chunk *c = cache->bin[i]; c; c = next) {
            next = chunk_next(c);
            c->key = 0;
            give_back(c);
        }
    }
    give_back(cache);
}

/* A signal handler that calls malloc, as none may, still finds a cache that it can use. */
void libc_malloc_end(uintptr_t tp)
{
    struct cache **slot = (struct cache **)(tp + (uintptr_t)place);
    if (!place || !*slot)
        return;
    uint64_t all = ~(UINT64_C(3) << 31), before; /* but for 32 and 33, which are libc's */
    sys_4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof all);
    struct cache *cache = *slot;
    *slot = &full;
    cache_free(cache);
    *slot = NULL;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}
