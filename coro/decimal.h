/* Numbers as text, for code that may run before libc is ready, in a signal handler or in a program
 * in any state: nothing is called, nothing is allocated.
 */
#ifndef CORO_DECIMAL_H
#define CORO_DECIMAL_H

#include <stdint.h>

enum { DECIMAL_ROOM = 21 }; /* the digits of UINT64_MAX and a 0 */

/* The decimal digits of `value` and a 0 after them, laid at the end of `room`; returns the first.
 * Async-signal-safe, never switches. */
static inline char *decimal(uint64_t value, char room[static DECIMAL_ROOM])
{
    char *at = room + DECIMAL_ROOM - 1;
    *at = 0;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return at;
}

/* Put `value` and what comes after it, in /proc mostly, behind what `path` holds; there must be room. */
static inline void decimal_path(char *path, uint64_t value, const char *after)
{
    char room[DECIMAL_ROOM];
    while (*path)
        path++;
    for (const char *d = decimal(value, room); *d; d++)
        *path++ = *d;
    do
        *path++ = *after;
    while (*after++);
}

#endif
