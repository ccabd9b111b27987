#include "patches.h"

#include <stdio.h>
#include <string.h>

const struct patch_list_row *patches_find(const char *name)
{
    for (size_t i = 0; i < PATCH_LIST_COUNT; i++)
        if (strcmp(patch_list[i].name, name) == 0)
            return &patch_list[i];
    return NULL;
}

static int patches_width(size_t least, size_t length)
{
    return (int)(length > least ? length : least);
}

void patches_list(void)
{
    int group = 5, name = 6, kind = 4;
    for (size_t i = 0; i < PATCH_LIST_COUNT; i++) {
        group = patches_width((size_t)group, strlen(patch_list[i].group));
        name = patches_width((size_t)name, strlen(patch_list[i].name));
        kind = patches_width((size_t)kind, strlen(patch_list[i].kind));
    }
    printf("%-*s  %-*s  %-*s  %s\n", group, "GROUP", name, "SYMBOL", kind, "KIND", "WHY");
    for (size_t i = 0; i < PATCH_LIST_COUNT; i++) {
        const struct patch_list_row *row = &patch_list[i];
        printf("%-*s  %-*s  %-*s  ", group, row->group, name, row->name, kind, row->kind);
        if (*row->twin != 0)
            printf("as %s: ", row->twin);
        puts(row->why);
    }
}
