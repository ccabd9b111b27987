/* Static TLS of the process's libraries, as libc.c needs it: which library's lies where in a block,
 * and from what it is initialised. For coro/libc*.c only. */
#ifndef CORO_LIBC_TLS_H
#define CORO_LIBC_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "coro/libc_pthread.h"

/* Find the dynamic linker's tables. Returns NULL or what is wrong with them. */
const char *libc_tls_start(uintptr_t tp);

/* The range of libc's own TLS in the block at `tp`. */
bool libc_tls_own(uintptr_t tp, uintptr_t *low, uintptr_t *end);

/* Note which static TLS exists now. */
void libc_tls_stamp(struct libc_stamp *stamp);

/* Initialise in the block at `tp` what came since `since`, and stamp the block. */
void libc_tls_init_since(uintptr_t tp, const struct libc_stamp *since);

/* Initialise all static TLS but libc's own, free dynamic TLS, stamp the block. */
void libc_tls_renew(uintptr_t tp);

#endif
