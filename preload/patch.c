/* Calls that are counted, and groups that are not patched. */
#include "patch.h"

int patch_special;
_Atomic uint64_t patch_calls[PATCH_COUNT];

/* Immutable after patch_setup(). */
static unsigned patch_groups_off;
static bool patch_counting;

void patch_setup(unsigned groups_off, bool count)
{
    const unsigned groups = (unsigned)((1ULL << GROUP_COUNT) - 1);
    patch_groups_off = groups_off & groups; /* the complement of a set has more bits than that */
    patch_counting = count;
    patch_special = patch_groups_off || count;
}

bool patch_special_enter(enum patch_id id)
{
    if (patch_counting)
        atomic_fetch_add_explicit(&patch_calls[id], 1, memory_order_relaxed);
    return patch_groups_off >> patch_group[id] & 1;
}
