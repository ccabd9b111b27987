/* What an address points to: memory of this process alone, shared memory, or nothing. */
#ifndef PRELOAD_MAPPING_H
#define PRELOAD_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

enum mapping {
    MAPPING_NONE,   /* not mapped, or not readable: EFAULT */
    MAPPING_OURS,   /* in memory that no other process shares */
    MAPPING_SHARED, /* in a shared mapping, or nobody knows */
};

/* What lies at `address` at this moment: a system call. On kernels before 6.11 it is a
 * costly one, and the answer may be an eighth of a second old. Any thread; keeps errno; never
 * switches. */
enum mapping mapping_at(uintptr_t address);

/* Is there memory to be read at `address`? Remembered by page: a page that is unmapped later may
 * still count as readable. As above otherwise. */
bool mapping_readable(uintptr_t address);

#endif
