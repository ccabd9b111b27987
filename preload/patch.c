/* Calls that are counted, groups that are not patched, symbols that bind their caller. */
#include "patch.h"

#include <string.h>

#include "bind.h"

int patch_special;
_Atomic uint64_t patch_calls[PATCH_COUNT];

/* Immutable after patch_setup(). */
static unsigned patch_groups_off;
static bool patch_counting;
static bool patch_binding[PATCH_COUNT]; /* immutable after patch_setup_binding() */

void patch_setup(unsigned groups_off, bool count)
{
    const unsigned groups = (unsigned)((1ULL << GROUP_COUNT) - 1);
    patch_groups_off = groups_off & groups; /* the complement of a set has more bits than that */
    patch_counting = count;
    patch_special = patch_groups_off || count;
}

static void patch_bind(const char *name, size_t length)
{
    for (unsigned id = 0; id < PATCH_COUNT; id++)
        if (strncmp(patch_name[id], name, length) == 0 && patch_name[id][length] == 0)
            patch_binding[id] = true;
    for (unsigned i = 0; i < PATCH_TWIN_COUNT; i++)
        if (strncmp(patch_twin[i].name, name, length) == 0 && patch_twin[i].name[length] == 0)
            patch_binding[patch_twin[i].of] = true;
}

void patch_setup_binding(const char *names)
{
    while (*names) {
        size_t length = strcspn(names, ",");
        patch_bind(names, length);
        names += length + (names[length] == ',');
        patch_special = 1;
    }
}

void patch_calls_forget(void)
{
    for (unsigned id = 0; patch_counting && id < PATCH_COUNT; id++)
        atomic_store_explicit(&patch_calls[id], 0, memory_order_relaxed);
}

bool patch_special_enter(enum patch_id id)
{
    if (patch_counting)
        atomic_fetch_add_explicit(&patch_calls[id], 1, memory_order_relaxed);
    if (patch_binding[id] && self_attach())
        bind_self();
    return patch_groups_off >> patch_group[id] & 1;
}
