/* Signal masks of green threads and the mask under which a hub waits.
 *
 * The kernel's mask of an OS thread is that of the green thread it runs (sched_resume()). While a
 * hub polls it is what every green thread blocks, so that a signal which any of them takes arrives.
 * Programs use few different masks: a small table counts the green threads of each.
 */
#include "internal.h"

enum { MASKS = 64 };

/* Guarded by mask_lock; mask_common is read without. */
static struct lock mask_lock;
static struct {
    uint64_t mask;
    size_t users;
} mask_table[MASKS];
static size_t mask_uncounted; /* users that found the table full: nothing is blocked for sure */
static uint64_t mask_common;

static void mask_changed(void)
{
    uint64_t common = mask_uncounted ? 0 : ~(uint64_t)0;
    for (int i = 0; i < MASKS; i++)
        if (mask_table[i].users)
            common &= mask_table[i].mask;
    __atomic_store_n(&mask_common, common, __ATOMIC_RELAXED);
}

void deliver_mask_added(uint64_t mask)
{
    lock_acquire(&mask_lock);
    int slot = -1;
    for (int i = 0; i < MASKS; i++) {
        if (mask_table[i].users && mask_table[i].mask == mask) {
            mask_table[i].users++;
            lock_release(&mask_lock);
            return;
        }
        if (!mask_table[i].users && slot < 0)
            slot = i;
    }
    if (slot >= 0) {
        mask_table[slot].mask = mask;
        mask_table[slot].users = 1;
    } else {
        mask_uncounted++;
    }
    mask_changed();
    lock_release(&mask_lock);
}

void deliver_mask_removed(uint64_t mask)
{
    lock_acquire(&mask_lock);
    int i = 0;
    while (i < MASKS && !(mask_table[i].users && mask_table[i].mask == mask))
        i++;
    if (i == MASKS) {
        mask_uncounted--;
        mask_changed();
    } else if (--mask_table[i].users == 0) {
        mask_changed();
    }
    lock_release(&mask_lock);
}

void deliver_idle_begin(struct hub *h)
{
    uint64_t common = __atomic_load_n(&mask_common, __ATOMIC_RELAXED);
    if (__builtin_expect(h->carrier->mask != common, 0))
        carrier_set_mask(h->carrier, common);
}

void deliver_fork(uint64_t mask)
{
    lock_init(&mask_lock);
    for (int i = 0; i < MASKS; i++)
        mask_table[i].users = 0;
    mask_uncounted = 0;
    deliver_mask_added(mask);
}
