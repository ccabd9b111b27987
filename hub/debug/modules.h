/* The files that are mapped into the process, found without the dynamic linker and its locks.
 *
 * One table, used by one reporter at a time (report.h). No thread-local storage, no memory of
 * anybody's.
 */
#ifndef DEBUG_MODULES_H
#define DEBUG_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct module {
    uintptr_t start, end; /* all of its segments */
    uintptr_t bias;       /* to add to the file's addresses */
    uintptr_t eh_hdr;     /* .eh_frame_hdr; 0: none */
    const char *path;     /* as the kernel names it; "[vdso]" too */
    bool ours;            /* libgreen.so itself */
};

/* Read the table anew. */
void modules_load(void);

/* Whose address it is; NULL when nobody's. */
const struct module *module_of(uintptr_t address);

/* May code be executed at the address? By what modules_load() saw. */
bool module_is_code(uintptr_t address);

/* The last part of a path. */
const char *module_base(const struct module *m);

#endif
