/* Run one call on a native helper thread while the green thread is parked (eventlet's tpool).
 *
 * Threads are made on demand up to the bound and end after they were idle for a while. When all
 * are busy at the bound, the call is made in place with the hub handed off, so that a call which
 * waits for another one behind it in the queue cannot deadlock. Under --strict, where no hub is handed
 * off, the bound is that of all OS threads instead.
 *
 * A call that signals end natively is ended by prodding the thread that makes it: with a signal of
 * libgreen's, which has it return EINTR, or go on, as the handlers that ran on the green thread say.
 */
#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "../coro/libc.h"
#include "gen/real.h"
#include "internal.h"
#include "interrupted.h"

enum {
    OFFLOAD_STACK = 256 * 1024,
    IDLE_SECONDS = 5,
    PROD_AGAIN_NS = 1000000, /* to one that was not in its call yet */
};

/* What the call is to do, as after a signal whose handler has SA_RESTART, or has not. */
enum prod { PROD_NONE, PROD_RESTART, PROD_END };

/* Lies on the stack of the green thread that waits. */
struct job {
    long (*fn)(void *);
    void *arg;
    long result;
    int error; /* errno: the caller's before, the call's after */
    struct green *green;
    struct job *next; /* pool lock */
    struct job *outer; /* what the thread waited for when a handler made this call; self */
    struct lock call;  /* guards tid */
    int tid;           /* who makes it; 0 before and after */
    _Atomic bool sent; /* one is on its way, and no other follows: they would pile up on its stack */
    _Atomic int prod;  /* enum prod; asked by self, answered by who makes it */
    _Atomic bool done;
};

/* The job that this thread makes: for the handler. */
static __thread struct job *volatile job_here __attribute__((tls_model("initial-exec")));

/* A thread that has nothing to do; lies on its stack. */
struct idler {
    struct idler *next;  /* pool lock */
    _Atomic int called;  /* futex: it was taken from the list, for a job that it or another will find */
};

/* Guarded by pool_lock, but for the atomics. */
static struct lock pool_lock;
static struct job *pool_head, **pool_tail = &pool_head;
static unsigned pool_threads, pool_idle, pool_queued;
static struct idler *pool_idlers; /* the one that came last first: the others may end */
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

static void idler_call(struct idler *i)
{
    if (!i)
        return;
    atomic_store(&i->called, 1); /* its memory may be gone from here on */
    sys_6(SYS_futex, &i->called, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static struct idler *idler_take(void)
{
    struct idler *i = pool_idlers;
    if (i)
        pool_idlers = i->next;
    return i;
}

/* Under the lock, which is given up meanwhile: until the thread is called, or for IDLE_SECONDS. Returns
 * whether it was called. */
static bool idler_wait(void)
{
    struct idler self = {.next = pool_idlers};
    struct timespec ts = {IDLE_SECONDS, 0};
    pool_idlers = &self;
    lock_release(&pool_lock);
    while (!atomic_load(&self.called) && /* libc's setuid() interrupts all threads */
           sys_6(SYS_futex, &self.called, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0) != -ETIMEDOUT)
        ;
    lock_acquire(&pool_lock);
    struct idler **slot = &pool_idlers;
    while (*slot && *slot != &self)
        slot = &(*slot)->next;
    if (*slot) {
        *slot = self.next;
        return false;
    }
    lock_release(&pool_lock);
    while (!atomic_load(&self.called)) /* whoever took it is about to */
        sys_6(SYS_futex, &self.called, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    lock_acquire(&pool_lock);
    return true;
}

/* The next job, or NULL when this thread shall end. It stays while it is one of those that were reserved
 * for jobs on their way. */
static struct job *pool_next(void)
{
    lock_acquire(&pool_lock);
    pool_idle++;
    struct job *j;
    while (!(j = pool_take()))
        if (!idler_wait() && pool_idle > pool_queued)
            break;
    pool_idle--;
    if (!j)
        pool_threads--;
    lock_release(&pool_lock);
    return j;
}

static void job_begin(struct job *j, int tid)
{
    job_here = j;
    lock_acquire(&j->call);
    j->tid = tid;
    lock_release(&j->call);
}

/* No signal that was meant for this job is to end a call of the next one: what was sent has come when a
 * system call returns. */
static void job_end(struct job *j)
{
    lock_acquire(&j->call);
    j->tid = 0;
    lock_release(&j->call);
    if (atomic_load(&j->sent))
        sys_0(SYS_gettid);
    job_here = NULL;
}

static void *pool_main(void *unused)
{
    (void)unused;
    native_begin();
    native_name("green-offload");
    int tid = (int)sys_0(SYS_gettid);
    struct job *j;
    while ((j = pool_next())) {
        job_begin(j, tid);
        errno = j->error;
        j->result = j->fn(j->arg);
        j->error = errno;
        job_end(j);
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

/* ---- Prodding ---- */

void (*offload_prod_hook)(int tid);

void offload_prodded(void *context)
{
    struct job *j = job_here;
    if (!j)
        return;
    int prod = atomic_load(&j->prod);
    enum interrupted where = prod ? interrupted_where(context) : INTERRUPTED_NOTHING;
    if (where == INTERRUPTED_AGAIN && prod == PROD_END)
        interrupted_end(context);
    if (where != INTERRUPTED_NOTHING)
        atomic_compare_exchange_strong(&j->prod, &prod, PROD_NONE);
    atomic_store(&j->sent, false);
}

/* Whoever is to end the call is not to be told by a later handler that it goes on. */
static void job_ask(struct job *j, enum prod prod)
{
    int none = PROD_NONE;
    if (prod == PROD_END)
        atomic_store(&j->prod, PROD_END);
    else
        atomic_compare_exchange_strong(&j->prod, &none, (int)prod);
}

static void job_prod(struct job *j)
{
    lock_acquire(&j->call);
    if (j->tid && offload_prod_hook && !atomic_exchange(&j->sent, true))
        offload_prod_hook(j->tid);
    lock_release(&j->call);
}

static void job_wait(struct green *g, struct job *j, int flags)
{
    for (;;) {
        int64_t deadline = DEADLINE_NEVER;
        if (atomic_load(&j->prod)) {
            deadline = clock_now() + PROD_AGAIN_NS;
            job_prod(j);
        }
        g->waits_for = WAIT_OFFLOAD;
        enum park_result r = park_until(g, job_done, j, deadline);
        enum wait_result how;
        if (r == PARK_DONE)
            return;
        if (r == PARK_INTERRUPTED && park_interrupted(g, flags, &how))
            job_ask(j, how == WAIT_RESTARTED ? PROD_RESTART : PROD_END);
    }
}

/* The jobs lie on the stack that is left. */
void offload_abandon(void)
{
    struct green *g = self_green();
    if (!g || !g->job)
        return;
    enter();
    for (struct job *j = g->job; j; j = g->job) {
        job_ask(j, PROD_END);
        job_wait(g, j, 0);
        g->job = j->outer;
    }
    leave();
}

long offload(long (*fn)(void *arg), void *arg, int flags)
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
    struct job j = {.fn = fn, .arg = arg, .error = before, .green = g, .outer = g->job};
    g->job = &j;
    lock_acquire(&pool_lock);
    *pool_tail = &j;
    pool_tail = &j.next;
    struct idler *idler = idler_take();
    lock_release(&pool_lock);
    idler_call(idler);
    job_wait(g, &j, flags);
    g->job = j.outer;
    leave();
    errno = j.error;
    return j.result;
}

void offload_fork(void)
{
    lock_init(&pool_lock);
    pool_head = NULL;
    pool_tail = &pool_head;
    pool_idlers = NULL;
    pool_threads = pool_idle = pool_queued = 0;
}
