/* The life of a green thread: made, run, ended. */
#include "thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <threads.h>

#include "attr.h"
#include "config.h"
#include "coro/libc.h"
#include "coro/sys.h"
#include "hub/debug/debugging.h"
#include "key.h"
#include "leaks.h"
#include "patch.h"
#include "sched.h"
#include "tracer.h"

uint32_t thread_epoch;

static struct thread thread_main;

/* Threads of the program that have not ended: when it falls to 0 the process exits. */
static _Atomic size_t thread_count;

/* ---- Who is who ---- */

/* Whom the id of a thread stands for that ended so long ago that its memory was given back: whatever
 * the program does with an id that it may not use any more must not reach libc, which has never heard
 * of it. Only its epoch ever changes. */
static struct thread thread_past = {.life = THREAD_ENDED | THREAD_GONE};

struct thread *thread_of(pthread_t id)
{
    if (!hub_started())
        return NULL;
    uintptr_t offset = (uintptr_t)&green_tls - (uintptr_t)__builtin_thread_pointer();
    struct green *g = ((struct green_tls *)((uintptr_t)id + offset))->self;
    if (!g && coro_has_been((uintptr_t)id))
        return &thread_past;
    return thread_is_green(g) ? (struct thread *)g : NULL;
}

struct thread_search {
    pid_t tid;
    struct thread *found;
};

static void thread_search_one(struct green *g, void *data)
{
    struct thread_search *search = data;
    if (libc_tid(g->coro.tp) == search->tid)
        search->found = (struct thread *)g;
}

struct thread *thread_of_tid(pid_t tid)
{
    struct thread *self = thread_self();
    if (!hub_started())
        return NULL;
    if (self && libc_tid(self->green.coro.tp) == tid)
        return self;
    struct thread_search search = {.tid = tid};
    green_each(thread_search_one, &search);
    return search.found;
}

/* ---- The end ---- */

static void thread_owner_died(void *mutex, void *data)
{
    (void)data;
    wake(WAIT_MUTEX, mutex, 1, WAIT_ANY_BITS);
}

/* Called when the stack is out of use, maybe on another OS thread than whoever joins runs on: once
 * THREAD_ENDED is set without THREAD_DETACHED the memory belongs to the joiner. */
static bool thread_released(struct green *g)
{
    struct thread *t = (struct thread *)g;
    bool kept = t->kept;
    uintptr_t life = atomic_fetch_or_explicit(&t->life, THREAD_ENDED, memory_order_acq_rel);
    if (life & THREAD_DETACHED) {
        atomic_fetch_or_explicit(&t->life, THREAD_GONE, memory_order_relaxed);
        return !kept;
    }
    if (life & ~(uintptr_t)THREAD_FLAGS)
        wake(WAIT_JOIN, t, 1, WAIT_ANY_BITS);
    return false;
}

/* All of the program's code for this thread has run. */
static _Noreturn void thread_end(struct thread *t)
{
    libc_mark_exiting(t->green.coro.tp);
    if (t->green.bound)
        libc_robust_exit_bound(t->green.coro.tp, hub_native_tp());
    libc_robust_exit(t->green.coro.tp, thread_owner_died, NULL);
    if (atomic_fetch_sub(&thread_count, 1) == 1)
        exit(0);
    if (!t->main)
        libc_thread_end();
    green_end(thread_released);
}

static void *thread_call(void *(*start)(void *), void *arg, bool c11)
{
    if (c11)
        return (void *)(intptr_t)((thrd_start_t)(void (*)(void))start)(arg);
    return start(arg);
}

/* Runs what is left to run of a thread: a destructor may end it once more by pthread_exit(), and
 * then the destructors that have not run yet follow, as in libc. */
static void *thread_body(void *arg)
{
    struct thread *t = arg;
    if (!t->started) {
        t->started = true;
        t->result = thread_call(t->start, t->arg, t->c11);
    }
    if (!t->main)
        libc_run_tls_dtors();
    key_run_destructors();
    t->destroyed = true;
    return NULL;
}

static _Noreturn void thread_run(struct thread *t)
{
    while (!t->destroyed) {
        void *value = libc_run(thread_body, t);
        if (!t->destroyed)
            t->result = value;
    }
    thread_end(t);
}

static void thread_entry(struct green *g)
{
    libc_thread_begin();
    thread_run((struct thread *)g);
}

/* The destructors of main's thread_local objects wait for exit(), as natively. */
void thread_main_exited(void *value)
{
    thread_main.started = true;
    thread_main.result = value;
    thread_run(&thread_main);
}

struct green *thread_main_waiting(void)
{
    if (!hub_started() || !thread_lives(&thread_main))
        return NULL;
    int state = atomic_load_explicit(&thread_main.green.state, memory_order_relaxed);
    return state == GREEN_PARKED || state == GREEN_RUNNABLE ? &thread_main.green : NULL;
}

/* ---- Making ---- */

/* The first pthread_create() starts the runtime, when the program's main thread makes it. */
static bool thread_runtime_start(void)
{
    if (!config_patches(GROUP_thread) || hub_started() ||
        atomic_load(&green_tls.own) != OWN_NATIVE || sys_0(SYS_gettid) != sys_0(SYS_getpid))
        return false;
    const struct hub_settings settings = {
        .carriers = config.carriers,
        .strict = config.strict,
        .handoff = config.handoff,
        .max_carriers = config.max_carriers,
        .offload_threads = config.offload_threads,
    };
    thread_main = (struct thread){.main = true, .kept = true, .epoch = thread_epoch};
    atomic_store(&thread_main.nice, THREAD_NO_NICE);
    sys_2(SYS_prctl, PR_GET_NAME, thread_main.green.name);
    atomic_store(&thread_count, 1);
    attr_refresh();
    if (hub_start(&thread_main.green, sizeof thread_main, &settings))
        return false;
    leaks_start();
    tracer_start();
    return true;
}

static int thread_create_green(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                               void *arg, bool c11)
{
    struct attr a;
    struct thread *self = thread_self();
    struct thread_sched sched;
    int error = attr_read(&a, attr);
    if (!error)
        error = sched_inherit(&sched, &self->sched, &a);
    if (error)
        return error;

    green_launch_pace();
    struct green *g = green_new(&a.coro, thread_entry);
    if (!g && errno == ENOMEM) { /* those that run would end meanwhile, and make room */
        green_yield();
        g = green_new(&a.coro, thread_entry);
    }
    if (!g)
        return errno == ENOMEM ? EAGAIN : errno;
    struct thread *t = (struct thread *)g;
    memcpy(g->name, self->green.name, sizeof g->name);
    if (a.has_mask)
        g->mask = a.mask;
    t->start = start;
    t->arg = arg;
    t->result = NULL;
    t->epoch = thread_epoch;
    t->c11 = c11;
    t->main = t->kept = t->started = t->destroyed = false;
    t->os_tid = 0;
    t->sched = sched;
    atomic_store_explicit(&t->nice, THREAD_NO_NICE, memory_order_relaxed);
    atomic_store_explicit(&t->life, a.detached ? THREAD_DETACHED : 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread_count, 1, memory_order_relaxed);
    *id = thread_id(t); /* before it runs: libc promises that too */
    green_launch(g);
    if (__builtin_expect(debug_wanted, 0))
        debug_run();
    return 0;
}

/* ---- Threads that are OS threads ---- */

/* Once the runtime runs, the end of the last thread of either sort ends the process. */
struct thread_native {
    void *(*start)(void *);
    void *arg;
    bool c11;
};

static void thread_native_ended(void *unused)
{
    (void)unused;
    if (atomic_fetch_sub(&thread_count, 1) == 1)
        exit(0);
}

static void *thread_native_body(void *arg)
{
    struct thread_native native = *(struct thread_native *)arg;
    void *result;
    free(arg);
    pthread_cleanup_push(thread_native_ended, NULL);
    result = thread_call(native.start, native.arg, native.c11);
    pthread_cleanup_pop(1);
    return result;
}

static int thread_create_native(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                                void *arg, bool c11)
{
    struct thread_native *native = malloc(sizeof *native);
    if (!native)
        return EAGAIN;
    *native = (struct thread_native){start, arg, c11};
    atomic_fetch_add(&thread_count, 1);
    int error = real.pthread_create(id, attr, thread_native_body, native);
    if (error) {
        atomic_fetch_sub(&thread_count, 1);
        free(native);
    }
    return error;
}

/* ---- pthread_create and thrd_create ---- */

enum thread_way { THREAD_BY_LIBC, THREAD_NATIVE, THREAD_GREEN };

/* What becomes of a thread made here. An OS thread where a foreign one makes it, or a bound one:
 * the new thread inherits the kernel state that its creator changed for itself. */
static enum thread_way thread_way(enum patch_id symbol)
{
    if (!patch_passes(symbol) || thread_runtime_start())
        return THREAD_GREEN;
    return hub_started() ? THREAD_NATIVE : THREAD_BY_LIBC;
}

int green_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                         void *arg)
{
    switch (thread_way(PATCH_pthread_create)) {
    case THREAD_GREEN:
        return thread_create_green(id, attr, start, arg, false);
    case THREAD_NATIVE:
        return thread_create_native(id, attr, start, arg, false);
    default:
        return real.pthread_create(id, attr, start, arg);
    }
}

int green_thrd_create(thrd_t *id, thrd_start_t start, void *arg)
{
    void *(*untyped)(void *) = (void *(*)(void *))(void (*)(void))start;
    int error;
    switch (thread_way(PATCH_thrd_create)) {
    case THREAD_GREEN:
        error = thread_create_green(id, NULL, untyped, arg, true);
        break;
    case THREAD_NATIVE:
        error = thread_create_native(id, NULL, untyped, arg, true);
        break;
    default:
        return real.thrd_create(id, start, arg);
    }
    return error == 0 ? thrd_success : error == ENOMEM ? thrd_nomem : thrd_error;
}

/* libc unwinds to the frame below the thread's function, which is ours (coro/libc.h: libc_run). */
void green_pthread_exit(void *result)
{
    (void)patch_passes(PATCH_pthread_exit);
    real.pthread_exit(result);
}

void green_thrd_exit(int result)
{
    (void)patch_passes(PATCH_thrd_exit);
    real.thrd_exit(result);
}

/* ---- Fork ---- */

/* libc counts the caller as the main thread from now on, and so its memory is not to be reused. */
void thread_after_fork(void)
{
    struct thread *self = thread_self();
    thread_past.epoch = ++thread_epoch;
    if (!self)
        return;
    self->epoch = thread_epoch;
    self->kept = true;
    self->os_tid = 0;
    atomic_store(&self->life, atomic_load(&self->life) & THREAD_DETACHED);
    atomic_store(&thread_count, 1);
}
