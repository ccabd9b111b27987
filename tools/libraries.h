/* Which libraries a program brings along, found as the dynamic loader finds them but without
 * running it: a loader named in a file is the file's choice, not ours. */
#ifndef TOOLS_LIBRARIES_H
#define TOOLS_LIBRARIES_H

#include <stddef.h>

#include "elf.h"

struct library {
    char *name;      /* as it was asked for */
    char *path;      /* NULL: not found */
    size_t asked_by; /* its place in the list */
    struct elf elf;  /* open where path is not NULL */
};

struct libraries {
    struct library *list; /* the program first, then breadth first, each once */
    size_t count;
};

/* Find the program and every library that it needs, directly or not. What cannot be found or read
 * is listed without a path. */
void libraries_collect(struct libraries *libraries, const char *program);
void libraries_free(struct libraries *libraries);

/* The path of a library that the program itself needs by this name, or NULL when it is not found.
 * The caller frees it. */
char *libraries_find(const char *program, const char *name);

#endif
