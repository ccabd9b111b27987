/* See libc_stdio.c. For preload/stdio.c alone. */
#ifndef CORO_LIBC_STDIO_H
#define CORO_LIBC_STDIO_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* What stands in for _IO_file_read, _IO_file_write and _IO_file_close. */
struct libc_stdio_hooks {
    ssize_t (*read)(FILE *f, void *buf, ssize_t n);
    ssize_t (*write)(FILE *f, const void *buf, ssize_t n);
    int (*close)(FILE *f);
};

/* Replace the slots of every table. Once, at start-up, while the process has one thread. Returns
 * NULL, or a sentence that says what does not hold; then nothing was replaced. */
const char *libc_stdio_hook(const struct libc_stdio_hooks *hooks);

/* libc's own functions. */
ssize_t libc_stdio_read(FILE *f, void *buf, ssize_t n);
int libc_stdio_close(FILE *f);

/* Were the writes and reads of f declared to be no cancellation points? (fopen() with "c"; and libc's own
 * writes while it holds a lock, as malloc_stats() does.) */
bool libc_stdio_uncancelled(const FILE *f);

/* Account for n bytes written to f's descriptor. */
void libc_stdio_wrote(FILE *f, ssize_t n, bool error);

#endif
