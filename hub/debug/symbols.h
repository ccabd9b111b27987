/* Names of addresses, read from the files that are mapped. For one reporter at a time (report.h). */
#ifndef DEBUG_SYMBOLS_H
#define DEBUG_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "hub/debug/modules.h"

enum { SYMBOL_NAME = 88 };

struct symbol {
    uintptr_t address;           /* that was asked for */
    uintptr_t offset;            /* into the symbol */
    const struct module *module; /* NULL: no file's */
    char name[SYMBOL_NAME];      /* "": the file has no name for it */
};

/* The function or object that lies at the address. The result is good until the next call, or
 * modules_load(). Takes no lock; reads files. */
const struct symbol *symbol_of(uintptr_t address);

/* Forget what was found; after modules_load(). */
void symbols_forget(void);

#endif
