/* Size classes, two to each power of two, cut from large mappings; one free list per class. A block
 * above the largest class is a mapping of its own. Memory of a class is never given back: the
 * runtime's needs are small and steady, and green threads' stacks live elsewhere. */
#include "alloc.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "coro/lock.h"

enum {
    HEADER = 16,        /* before each block; keeps blocks aligned to 16 */
    CLASSES = 22,       /* 32, 48, 64, 96, ... 32768, 49152 bytes, header included */
    CHUNK = 256 * 1024, /* mapped at a time */
};

/* What stands before a block. */
struct header {
    alignas(HEADER) size_t size; /* of the whole block, header included */
    unsigned class;              /* CLASSES: a mapping of its own */
};
_Static_assert(sizeof(struct header) == HEADER, "the header fills its place");

/* A block on a free list; the link lies where the block's user had its data. */
struct free_block {
    struct header header;
    struct free_block *next;
};

/* All under alloc_lock. */
static struct lock alloc_lock;
static struct free_block *alloc_free_lists[CLASSES];
static char *alloc_chunk; /* what is left of the newest mapping */
static size_t alloc_chunk_left;

static size_t class_size(unsigned class)
{
    return (size_t)(class & 1 ? 48 : 32) << class / 2;
}

/* The smallest class whose blocks hold TOTAL bytes, CLASSES if none. */
static unsigned class_of(size_t total)
{
    if (total <= class_size(0))
        return 0;
    unsigned bits = 63 - (unsigned)__builtin_clzl(total - 1); /* 2^bits < total <= 2^(bits+1) */
    if (bits > 15)
        return CLASSES;
    unsigned class = 2 * (bits - 5);
    return class + (total <= class_size(class + 1) ? 1 : 2);
}

/* Pages from the kernel, or NULL with errno as it was. */
static void *map_pages(size_t size)
{
    int saved = errno;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return p == MAP_FAILED ? NULL : p;
}

static size_t page_round(size_t size)
{
    return (size + 4095) & ~(size_t)4095;
}

/* Under alloc_lock: what is left of the newest mapping, or a new one, has SIZE bytes. */
static bool chunk_has(size_t size)
{
    if (alloc_chunk_left < size) {
        char *chunk = map_pages(CHUNK);
        if (!chunk)
            return false;
        alloc_chunk = chunk;
        alloc_chunk_left = CHUNK;
    }
    return true;
}

bool alloc_reserve(size_t size)
{
    lock_acquire(&alloc_lock);
    bool has = size <= CHUNK && chunk_has(size);
    lock_release(&alloc_lock);
    return has;
}

static struct header *take_block(unsigned class)
{
    size_t size = class_size(class);
    struct header *block = NULL;
    lock_acquire(&alloc_lock);
    if (alloc_free_lists[class]) {
        block = &alloc_free_lists[class]->header;
        alloc_free_lists[class] = alloc_free_lists[class]->next;
    } else {
        if (chunk_has(size)) {
            block = (struct header *)alloc_chunk;
            alloc_chunk += size;
            alloc_chunk_left -= size;
        }
    }
    lock_release(&alloc_lock);
    if (block)
        *block = (struct header){.size = size, .class = class};
    return block;
}

void *green_alloc(size_t size)
{
    if (size > PTRDIFF_MAX - HEADER - 4096)
        return NULL;
    unsigned class = class_of(size + HEADER);
    struct header *block;
    if (class < CLASSES) {
        block = take_block(class);
    } else {
        size_t whole = page_round(size + HEADER);
        block = map_pages(whole);
        if (block)
            *block = (struct header){.size = whole, .class = CLASSES};
    }
    return block ? block + 1 : NULL;
}

void *green_calloc(size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    void *p = green_alloc(total);
    /* A mapping of its own comes zeroed. */
    if (p && ((struct header *)p - 1)->class < CLASSES)
        memset(p, 0, total);
    return p;
}

void *green_realloc(void *p, size_t size)
{
    if (!p)
        return green_alloc(size);
    struct header *block = (struct header *)p - 1;
    if (size <= PTRDIFF_MAX - HEADER - 4096) {
        size_t needed = size + HEADER;
        if (block->class < CLASSES && needed <= block->size && needed > block->size / 4)
            return p;
        if (block->class == CLASSES && class_of(needed) == CLASSES) {
            int saved = errno;
            size_t whole = page_round(needed);
            struct header *moved = mremap(block, block->size, whole, MREMAP_MAYMOVE);
            errno = saved;
            if (moved == MAP_FAILED)
                return NULL;
            moved->size = whole;
            return moved + 1;
        }
    }
    void *fresh = green_alloc(size);
    if (!fresh)
        return NULL;
    size_t had = block->size - HEADER;
    memcpy(fresh, p, had < size ? had : size);
    green_free(p);
    return fresh;
}

void green_free(void *p)
{
    if (!p)
        return;
    struct header *block = (struct header *)p - 1;
    if (block->class == CLASSES) {
        int saved = errno;
        munmap(block, block->size);
        errno = saved;
        return;
    }
    struct free_block *freed = (struct free_block *)block;
    lock_acquire(&alloc_lock);
    freed->next = alloc_free_lists[block->class];
    alloc_free_lists[block->class] = freed;
    lock_release(&alloc_lock);
}

void alloc_fork(void)
{
    lock_init(&alloc_lock);
    for (unsigned i = 0; i < CLASSES; i++)
        alloc_free_lists[i] = NULL;
    alloc_chunk_left = 0;
}
