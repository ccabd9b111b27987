/* The runtime's own memory: never the program's malloc, whose locks and caches belong to the
 * program, and which the program may have replaced.
 *
 * Any thread; not async-signal-safe; never switches green threads.
 */
#ifndef HUB_ALLOC_H
#define HUB_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* SIZE bytes aligned to 16, uninitialised; for SIZE 0 a unique address. NULL when the kernel gives
 * no more memory; errno is kept. */
void *green_alloc(size_t size);

/* N * SIZE zeroed bytes; NULL on overflow too. */
void *green_calloc(size_t n, size_t size);

/* As realloc(3): P may be NULL; on failure P stays as it was. */
void *green_realloc(void *p, size_t size);

/* Gives back what the three above gave; NULL is nothing. */
void green_free(void *p);

/* Sees to it that the next blocks of up to 48 KiB, SIZE bytes with 16 for each, can be had. False
 * when the kernel gives no more memory. */
bool alloc_reserve(size_t size);

/* In a forked child: another thread may have been in the middle of something, so what was free is
 * abandoned; blocks in use stay valid. */
void alloc_fork(void);

#endif
