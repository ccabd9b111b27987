/* Run one call on a native helper thread while the green thread is parked (eventlet's tpool).
 *
 * Threads are made on demand up to the bound and end after they were idle for a while. When all
 * are busy at the bound, the call is made in place with the hub handed off, so that a call which
 * waits for another one behind it in the queue cannot deadlock. Under --strict, where no hub is handed
 * off, the bound is that of all OS threads instead.
 */
#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "../coro/libc.h"
#include "gen/real.h"
#include "internal.h"

enum { OFFLOAD_STACK = 256 * 1024, IDLE_SECONDS = 5 };

/* Lies on the stack of the green thread that waits. */
struct job {
    long (*fn)(void *);
    void *arg;
    long result;
    int error; /* errno: the caller's before, the call's after */
    struct green *green;
    struct job *next; /* pool lock */
    _Atomic bool done;
};

/* Guarded by pool_lock, but for the atomics. */
static struct lock pool_lock;
static struct job *pool_head, **pool_tail = &pool_head;
static unsigned pool_threads, pool_idle, pool_queued;
static _Atomic int pool_bell; /* futex: rung for each job */
static _Atomic uint64_t pool_calls;

uint64_t offload_calls(void)
{
    return atomic_load_explicit(&pool_calls, memory_order_relaxed);
}

static struct job *pool_take(void)
{
    struct job *j = pool_head;
    if (j) {
        pool_head = j->next;
        if (!pool_head)
            pool_tail = &pool_head;
        pool_queued--;
    }
    return j;
}

/* The next job, or NULL when this thread shall end. */
static struct job *pool_next(void)
{
    lock_acquire(&pool_lock);
    pool_idle++;
    for (;;) {
        struct job *j = pool_take();
        int bell = atomic_load(&pool_bell);
        if (j) {
            pool_idle--;
            lock_release(&pool_lock);
            return j;
        }
        lock_release(&pool_lock);
        struct timespec ts = {IDLE_SECONDS, 0};
        long r = sys_6(SYS_futex, &pool_bell, FUTEX_WAIT_PRIVATE, bell, &ts, NULL, 0);
        lock_acquire(&pool_lock);
        if (r == -ETIMEDOUT && !pool_head) {
            pool_idle--;
            pool_threads--;
            lock_release(&pool_lock);
            return NULL;
        }
    }
}

static void *pool_main(void *unused)
{
    (void)unused;
    native_begin();
    native_name("green-offload");
    struct job *j;
    while ((j = pool_next())) {
        errno = j->error;
        j->result = j->fn(j->arg);
        j->error = errno;
        struct green *g = j->green; /* the job is gone once done is seen */
        atomic_store_explicit(&j->done, true, memory_order_release);
        unpark(g);
    }
    native_end();
    return NULL;
}

/* Is there, or can there be, a thread that takes one more job at once? Reserves it. */
static bool pool_reserve(void)
{
    unsigned most = hub_settings.strict ? hub_settings.max_carriers : hub_settings.offload_threads;
    lock_acquire(&pool_lock);
    bool room = pool_idle > pool_queued;
    bool grow = !room && pool_threads < most;
    if (room || grow)
        pool_queued++;
    if (grow)
        pool_threads++;
    lock_release(&pool_lock);
    if (!grow || !native_thread(pool_main, NULL, OFFLOAD_STACK))
        return room || grow;
    lock_acquire(&pool_lock);
    pool_threads--;
    pool_queued--;
    lock_release(&pool_lock);
    return false;
}

static bool job_done(void *arg)
{
    return atomic_load_explicit(&((struct job *)arg)->done, memory_order_acquire);
}

long offload(long (*fn)(void *arg), void *arg)
{
    atomic_fetch_add_explicit(&pool_calls, 1, memory_order_relaxed);
    if (!pool_reserve()) {
        call_begin();
        long r = fn(arg);
        call_end();
        return r;
    }
    int before = errno;
    struct green *g = enter();
    struct job j = {.fn = fn, .arg = arg, .error = before, .green = g};
    lock_acquire(&pool_lock);
    *pool_tail = &j;
    pool_tail = &j.next;
    lock_release(&pool_lock);
    atomic_fetch_add(&pool_bell, 1);
    sys_6(SYS_futex, &pool_bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    g->waits_for = WAIT_OFFLOAD;
    enum wait_result ignored;
    while (park_until(g, job_done, &j, DEADLINE_NEVER) != PARK_DONE)
        park_interrupted(g, 0, &ignored);
    leave();
    errno = j.error;
    return j.result;
}

void offload_fork(void)
{
    lock_init(&pool_lock);
    pool_head = NULL;
    pool_tail = &pool_head;
    pool_threads = pool_idle = pool_queued = 0;
}
