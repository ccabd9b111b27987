/* What a file that is no ELF program runs: its `#!` line as the kernel reads it, and what env(1)
 * makes of its arguments. */
#ifndef TOOLS_SCRIPT_H
#define TOOLS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

enum { SCRIPT_LINE_MAX = 256 }; /* of a file the kernel looks at so many bytes */

/* Split the first line of a script: the interpreter's path and its one argument, which may be NULL.
 * False when the file does not begin with `#!` and a path. The caller frees both. */
bool script_interpreter(const unsigned char *bytes, size_t size, char **interpreter,
                        char **argument);

/* Would a shell take the file for a script without a `#!` line? Text it is, up to its first line.
 */
bool script_is_text(const unsigned char *bytes, size_t size);

/* What `env ARGUMENTS` will run. */
struct script_env {
    char **command;   /* its words, then NULL; in memory that is never given back */
    const char *path; /* the PATH to look in: one that is set there, or the caller's; may be NULL */
    bool moves;       /* it changes the directory first */
};

/* Read the arguments of env(1), argv[0] being env itself. False when it runs nothing or when they
 * cannot be understood. */
bool script_env(char **argv, const char *path, struct script_env *result);

#endif
