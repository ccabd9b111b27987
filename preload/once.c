/* pthread_once(): libc's states in the caller's word, but whoever comes second parks.
 *
 * libc's own function is not used: a thread that finds the initialiser running would wait inside
 * it, and a thread that runs it inside libc would not wake ours. The word's states are libc's
 * because it is initialised statically and may have been used before the runtime started.
 */
#include <limits.h>
#include <linux/futex.h>

#include "coro/libc.h"
#include "coro/sys.h"
#include "preload/locks.h"
#include "preload/once.h"

/* ---- The fork generation ---- */

/* libc counts the forks that led to this process, to tell an initialiser that runs from one that
 * ran in the parent when it forked. The count is not public; but libc writes it into the word while
 * an initialiser runs. */
static __thread pthread_once_t once_probe;
static __thread pthread_once_t once_seen;

static void once_look(void)
{
    once_seen = once_probe;
}

static int once_running(void)
{
    once_probe = PTHREAD_ONCE_INIT;
    real.pthread_once(&once_probe, once_look);
    return once_seen;
}

/* ---- Waiting ---- */

struct once_watch {
    _Atomic int *word;
    int running;
};

static bool once_ready(void *arg)
{
    struct once_watch *w = arg;
    return atomic_load(w->word) != w->running;
}

static void once_wait(_Atomic int *word, int running)
{
    struct once_watch w = {word, running};
    wait_on(WAIT_ONCE, word, WAIT_ANY_BITS, once_ready, &w, DEADLINE_NEVER, 0);
}

/* Set the word, and wake ours and those that wait inside libc. */
static void once_set(_Atomic int *word, int value)
{
    atomic_store(word, value);
    if (atomic_load_explicit(&green_tls.own, memory_order_relaxed) != OWN_VFORK)
        wake(WAIT_ONCE, word, SIZE_MAX, WAIT_ANY_BITS);
    sys_6(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- Running ---- */

/* The initialiser was left by an exception, pthread_exit() or cancellation: the next one runs it.
 */
static void once_abandon(_Atomic int **word)
{
    if (*word)
        once_set(*word, PTHREAD_ONCE_INIT);
}

static void once_run(_Atomic int *word, void (*init)(void))
{
    _Atomic int *unfinished __attribute__((cleanup(once_abandon))) = word;
    libc_relay(init);
    unfinished = NULL;
    once_set(word, ONCE_DONE);
}

static int once_slow(_Atomic int *word, void (*init)(void))
{
    int running = once_running();
    int before = atomic_load(word);
    while (!(before & ONCE_DONE)) {
        if (before == running) {
            once_wait(word, running);
            before = atomic_load(word);
        } else if (atomic_compare_exchange_weak(word, &before, running)) {
            once_run(word, init);
            break;
        }
    }
    return 0;
}

int once_call(int *once, void (*init)(void))
{
    _Atomic int *word = (_Atomic int *)once;
    if (__builtin_expect(atomic_load_explicit(word, memory_order_acquire) & ONCE_DONE, 1))
        return 0;
    self_attach();
    return once_slow(word, init);
}

/* Also before the runtime starts, because that may happen in the midst of an initialiser. */
int green_pthread_once(pthread_once_t *once, void (*init)(void))
{
    if (__builtin_expect(patch_special, 0) && patch_special_enter(PATCH_pthread_once))
        return real.pthread_once(once, init);
    return once_call(once, init);
}
