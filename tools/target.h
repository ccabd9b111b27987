/* The command: where it is, what it runs in the end, and whether libgreen can be loaded into that.
 * All is read from files; nothing is run. */
#ifndef TOOLS_TARGET_H
#define TOOLS_TARGET_H

#include <stddef.h>

enum { TARGET_RUNTIMES_MAX = 8 };

struct target {
    char *command; /* the command, found */
    char *path;    /* what to execute: the command, or the shell for a script without `#!` */
    char **argv;   /* with these arguments */
    char *program; /* the ELF program that runs in the end: command itself, or a script's
                      interpreter */
    char *runtimes[TARGET_RUNTIMES_MAX +
                   1]; /* sanitizers' libraries that it needs first, then NULL */
};

/* Look the command up and follow it. Ends in say_no() when it is not there or not executable, and
 * when libgreen cannot be loaded into what it runs. */
void target_find(struct target *target, char **argv);

#endif
