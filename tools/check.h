/* --check: what will become of a program's calls. */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include "preload/config.h"
#include "target.h"

/* Print which functions of libc the program and its libraries ask for that are patched under this
 * configuration, and which ones can block and are not. Reads files, runs nothing. */
void check_print(const struct target *target, const struct green_config *asked);

#endif
