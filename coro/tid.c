#include "coro/tid.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "coro/lock.h"

/* Ids are handed out in batches, in turn. A batch is used again when none of its ids is in use: so
 * two bytes for each of them are all there is to remember, in memory that is touched as it goes. */
enum {
    TID_FIRST = TID_KERNEL_MOST + 1024,
    TID_END = 1 << 30,            /* FUTEX_TID_MASK + 1 */
    BATCH = 1024,
    BATCHES = (TID_END - TID_FIRST) / BATCH,
};

/* Under `lock`. */
static struct {
    struct lock lock;
    uint16_t *in_use; /* per batch */
    uint32_t batch;
    uint32_t next; /* in the batch */
} state;

static int next_batch(void)
{
    for (uint32_t i = 0; i < BATCHES; i++) {
        state.batch = (state.batch + 1) % BATCHES;
        if (state.in_use[state.batch] == 0) {
            state.next = 0;
            return 1;
        }
    }
    return 0;
}

static pid_t take(void)
{
    if (!state.in_use) {
        void *p = mmap(NULL, BATCHES * sizeof *state.in_use, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return 0;
        state.in_use = p;
        state.batch = state.next = 0;
    }
    if (state.next == BATCH && !next_batch())
        return 0;
    state.in_use[state.batch]++;
    return (pid_t)(TID_FIRST + state.batch * BATCH + state.next++);
}

pid_t tid_take(void)
{
    lock_acquire(&state.lock);
    pid_t tid = take();
    lock_release(&state.lock);
    return tid;
}

void tid_give(pid_t tid)
{
    lock_acquire(&state.lock);
    state.in_use[(uint32_t)(tid - TID_FIRST) / BATCH]--;
    lock_release(&state.lock);
}

/* Whatever lived in the parent counts as in use for ever: its ids may stand in locks. The batch that
 * was being handed out is left, because a count may have been caught in the midst of a change. */
void tid_after_fork(void)
{
    lock_init(&state.lock);
    state.next = BATCH;
}
