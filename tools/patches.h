/* The patch tables, as eventlet-run shows them. */
#ifndef TOOLS_PATCHES_H
#define TOOLS_PATCHES_H

#include "gen/patch_list.h"

/* The row of a function of libc, or NULL when it is not patched. */
const struct patch_list_row *patches_find(const char *name);

/* --list-patches: all rows. */
void patches_list(void);

#endif
