/* Between the generated table of libc's functions and real.c, which binds it. */
#ifndef PRELOAD_REAL_TABLE_H
#define PRELOAD_REAL_TABLE_H

#include <stddef.h>

struct real;

/* One pointer of struct real, in the order of its members. */
struct real_slot {
    const char *name;
    const char *version; /* NULL: the default one */
};

extern const struct real_slot real_slots[] __attribute__((visibility("hidden")));
extern const size_t real_slot_count __attribute__((visibility("hidden")));

/* The functions that fail, for symbols that this libc lacks. */
extern const struct real missing __attribute__((visibility("hidden")));

#endif
