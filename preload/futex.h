/* futex(2) for words that green threads wait on. */
#ifndef PRELOAD_FUTEX_H
#define PRELOAD_FUTEX_H

#include <stdbool.h>
#include <stdint.h>

/* The arguments of the system call. `fourth` is a time limit or a number, as the operation has it.
 */
struct futex_args {
    uint32_t *word;
    int op;
    uint32_t value;
    uintptr_t fourth;
    uint32_t *word2;
    uint32_t value3;
};

/* The system call's result, errors negative. `green`: on a green thread that is attached, where
 * waits park. Else waits are the kernel's, and only wakes reach green threads. Waits may switch. */
long futex_call(const struct futex_args *f, bool green);

/* futex_wake(2) of Linux 6.7. Any thread, never switches. */
long futex_wake_v2(uint32_t *word, unsigned long mask, int max, unsigned flags);

#endif
