/* What malloc of glibc keeps for a thread. For coro/libc*.c only. */
#ifndef CORO_LIBC_MALLOC_H
#define CORO_LIBC_MALLOC_H

#include <stdint.h>

/* Find the calling thread's cache in libc's own TLS. Where it is not found, because the program has
 * another malloc or this one looks different, libc_malloc_end() does nothing. Calls malloc. */
void libc_malloc_start(uintptr_t tp);

/* Free the calling thread's cache and what is in it, as libc does at the end of a thread of its own;
 * the next malloc() makes a new one. Must not be called in the midst of malloc or free. */
void libc_malloc_end(uintptr_t tp);

#endif
