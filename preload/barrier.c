/* Barriers: who waits is counted and listed in the object's unused end, under the queue's lock.
 *
 * The object may be destroyed as soon as one thread has returned, so a waiter never looks at it
 * again: that its round is complete is written into a record on its own stack.
 */
#include "preload/blocking.h"
#include "preload/locks.h"

struct barrier_record {
    struct barrier_record *next;
    _Atomic bool done;
};

/* Ours, behind what libc uses. Under the queue's lock. */
struct barrier {
    struct libc_barrier libc;
    unsigned arrived;
    struct barrier_record *records;
};
_Static_assert(sizeof(struct barrier) <= sizeof(pthread_barrier_t), "no room in a barrier");

struct barrier_wait {
    struct barrier *barrier;
    struct barrier_record record;
    bool arrived, last;
};

static struct barrier *barrier_of(pthread_barrier_t *b)
{
    return (struct barrier *)b;
}

int green_pthread_barrier_init(pthread_barrier_t *b, const pthread_barrierattr_t *attr,
                               unsigned count)
{
    int error = real.pthread_barrier_init(b, attr, count);
    if (__builtin_expect(patch_special, 0) && patch_special_enter(PATCH_pthread_barrier_init))
        return error;
    if (!error) {
        barrier_of(b)->arrived = 0;
        barrier_of(b)->records = NULL;
    }
    return error;
}

/* The last to arrive completes the round for all; the others wait for that. Asked again after a
 * signal handler ran, when the object may be gone. */
static bool barrier_ready(void *arg)
{
    struct barrier_wait *w = arg;
    if (w->arrived)
        return atomic_load_explicit(&w->record.done, memory_order_acquire);
    struct barrier *b = w->barrier;
    w->arrived = true;
    if (++b->arrived < b->libc.count) {
        w->record.next = b->records;
        b->records = &w->record;
        return false;
    }
    w->last = true;
    for (struct barrier_record *r = b->records, *next; r; r = next) {
        next = r->next;
        atomic_store_explicit(&r->done, true, memory_order_release);
    }
    b->arrived = 0;
    b->records = NULL;
    return true;
}

static long barrier_native_wait(void *b)
{
    return real.pthread_barrier_wait(b);
}

int green_pthread_barrier_wait(pthread_barrier_t *b)
{
    if (lock_passes(PATCH_pthread_barrier_wait))
        return real.pthread_barrier_wait(b);
    if (barrier_of(b)->libc.shared)
        return self_attach() ? (int)blocking_call(barrier_native_wait, b)
                             : real.pthread_barrier_wait(b);
    self_attach();
    unsigned others = barrier_of(b)->libc.count - 1;
    struct barrier_wait w = {.barrier = barrier_of(b)};
    while (!atomic_load_explicit(&w.record.done, memory_order_acquire) && !w.last)
        wait_on(WAIT_BARRIER, b, WAIT_ANY_BITS, barrier_ready, &w, DEADLINE_NEVER, 0);
    if (!w.last)
        return 0;
    wake(WAIT_BARRIER, b, others, WAIT_ANY_BITS);
    return PTHREAD_BARRIER_SERIAL_THREAD;
}

static long barrier_native_destroy(void *b)
{
    return real.pthread_barrier_destroy(b);
}

/* libc's waits until those that were woken have left; ours leave at once. */
int green_pthread_barrier_destroy(pthread_barrier_t *b)
{
    PASS_UNLESS_GREEN(pthread_barrier_destroy, b);
    if (!barrier_of(b)->libc.shared)
        return real.pthread_barrier_destroy(b);
    return (int)blocking_call(barrier_native_destroy, b);
}
