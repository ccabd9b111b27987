/* OS threads that run hubs: the main one, and those made here, which wait as spares until a hub is
 * given to them.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "../coro/libc.h"
#include "alloc.h"
#include "gen/real.h"
#include "internal.h"

enum {
    CARRIER_STACK = 128 * 1024,
    MAIN_IDLE_STACK = 64 * 1024,
    SPARES_KEPT = 2,          /* spares beyond this many retire when idle */
    RETIRE_AFTER_S = 2,
};

/* Guards everything below, and the `next`, `all_next` and `retire` of carriers. */
static struct lock spare_lock;
static struct carrier *spare_head;
static struct carrier *carrier_all;
static struct carrier *carrier_retired; /* never freed: others may look at a carrier at any time */
static size_t spare_count;
static unsigned carrier_made;
static _Atomic unsigned carrier_starting;

void carrier_set_mask(struct carrier *c, uint64_t mask)
{
    mask &= MASK_ALL;
    c->mask = mask;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

static void carrier_register(struct carrier *c)
{
    c->tid = (pid_t)sys_0(SYS_gettid);
    lock_acquire(&spare_lock);
    c->all_next = carrier_all;
    carrier_all = c;
    carrier_made++;
    lock_release(&spare_lock);
}

static void carrier_unregister(struct carrier *c)
{
    lock_acquire(&spare_lock);
    struct carrier **slot = &carrier_all;
    while (*slot && *slot != c)
        slot = &(*slot)->all_next;
    if (*slot) {
        *slot = c->all_next;
        carrier_made--;
    }
    c->next = carrier_retired;
    carrier_retired = c;
    lock_release(&spare_lock);
}

/* A zeroed carrier, a retired one's memory if there is any. */
static struct carrier *carrier_new(void)
{
    lock_acquire(&spare_lock);
    struct carrier *c = carrier_retired;
    if (c)
        carrier_retired = c->next;
    lock_release(&spare_lock);
    if (!c)
        return green_calloc(1, sizeof *c);
    *c = (struct carrier){0};
    return c;
}

/* ---- The list of spares ---- */

static void carrier_list_spare(struct carrier *c)
{
    lock_acquire(&spare_lock);
    c->next = spare_head;
    spare_head = c;
    spare_count++;
    lock_release(&spare_lock);
}

/* The list is a stack: whoever stands among the SPARES_KEPT undermost stays there, so that it may
 * sleep without a time-out. One that comes back with others listed meanwhile stands higher than
 * before, and must think again. */
void carrier_return_spare(struct carrier *c)
{
    carrier_list_spare(c);
    if (__atomic_load_n(&spare_count, __ATOMIC_RELAXED) > SPARES_KEPT)
        sys_6(SYS_futex, &c->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct carrier *carrier_take_spare(bool may_spawn)
{
    for (;;) {
        lock_acquire(&spare_lock);
        struct carrier *c = spare_head;
        if (c) {
            spare_head = c->next;
            spare_count--;
        }
        lock_release(&spare_lock);
        if (c || !may_spawn)
            return c;
        if (!carrier_spawn(NULL))
            return NULL;
        /* The new thread lists itself; wait for it without burning the processor. */
        while (atomic_load(&carrier_starting)) {
            struct timespec ts = {0, 20000};
            sys_2(SYS_nanosleep, &ts, NULL);
        }
    }
}

size_t carrier_spares(void)
{
    return __atomic_load_n(&spare_count, __ATOMIC_RELAXED) + atomic_load(&carrier_starting);
}

void carrier_give(struct carrier *c, struct hub *h)
{
    h->carrier = c;
    atomic_store_explicit(&c->given, h, memory_order_release);
    atomic_store_explicit(&c->wake, 1, memory_order_release);
    sys_6(SYS_futex, &c->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Has the calling OS thread children that live, or that nobody has waited for? Their
 * PR_SET_PDEATHSIG would take its end for the end of their parent. */
static bool carrier_has_children(const struct carrier *c)
{
    siginfo_t info;
    if (!c->forked)
        return false;
    const int any = WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WNOTHREAD | __WALL;
    return sys_5(SYS_waitid, P_ALL, 0, &info, any, NULL) != -ECHILD;
}

/* Nobody needs this many: leave the list, unless somebody has just been given a hub. */
static bool carrier_may_retire(struct carrier *c)
{
    bool leave = false;
    lock_acquire(&spare_lock);
    if (spare_count > SPARES_KEPT) {
        for (struct carrier **slot = &spare_head; *slot; slot = &(*slot)->next) {
            if (*slot == c) {
                *slot = c->next;
                spare_count--;
                leave = true;
                break;
            }
        }
    }
    lock_release(&spare_lock);
    return leave;
}

/* One that stays stands above SPARES_KEPT others, which sleep without a time-out: they think again. */
static void carrier_retire_others(const struct carrier *c)
{
    lock_acquire(&spare_lock);
    size_t below = spare_count;
    for (struct carrier *s = spare_head; s; s = s->next)
        if (below-- <= SPARES_KEPT + 1 && s != c)
            sys_6(SYS_futex, &s->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    lock_release(&spare_lock);
}

/* ---- The idle context ---- */

/* Waits until a hub is given; false when the carrier shall end. A spare beyond SPARES_KEPT leaves
 * after RETIRE_AFTER_S; the others, and who has children then, sleep without a time-out. */
static bool carrier_wait(struct carrier *c, bool may_end)
{
    bool told = false;
    while (!atomic_load_explicit(&c->wake, memory_order_acquire)) {
        bool many = __atomic_load_n(&spare_count, __ATOMIC_RELAXED) > SPARES_KEPT;
        bool retires = many && may_end;
        if (many && !may_end && !told) {
            carrier_retire_others(c);
            told = true;
        }
        struct timespec ts = {RETIRE_AFTER_S, 0};
        long r = sys_6(SYS_futex, &c->wake, FUTEX_WAIT_PRIVATE, 0, retires ? &ts : NULL, NULL, 0);
        if (r != -ETIMEDOUT)
            continue;
        if (carrier_has_children(c))
            may_end = false;
        else if (carrier_may_retire(c))
            return false;
    }
    atomic_store_explicit(&c->wake, 0, memory_order_relaxed);
    return true;
}

/* Runs hubs that are given to this OS thread. Comes back here whenever the green thread that runs
 * on it, having lost the hub, rejoins (c->post). */
static void carrier_idle(struct carrier *c, bool may_end)
{
    for (;;) {
        struct green *g = c->post;
        if (c->dead) {
            /* Kernel state of this OS thread is not what another green thread may run with. */
            g = c->dead;
            atomic_store_explicit(&g->state, GREEN_DEAD, memory_order_release);
            if (!c->release || c->release(g))
                coro_delete(&g->coro);
            if (may_end)
                return;
            /* The main OS thread, whose locks the kernel passes on at its end: it ends as libc ends it
             * when main() calls pthread_exit(), and the process goes on. */
            carrier_unregister(c);
            native_end();
            for (;;)
                sys_1(SYS_exit, 0);
        }
        /* Before it can run elsewhere: its alternate stack must not serve two OS threads. */
        if (c->alt_stack)
            deliver_alt_stack(c, NULL);
        if (g) {
            struct hub *h = g->hub;
            c->post = NULL;
            atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
            if (!h->carrier) { /* a hub made for g */
                h->carrier = c;
                atomic_fetch_and(&h->listening, ~LISTEN_HUB);
                monitor_wake();
                sched_push_remote(h, g);
                coro_switch(&c->idle, h->coro);
                continue;
            }
            carrier_list_spare(c);
            sched_push_remote(h, g);
        }
        if (!carrier_wait(c, may_end))
            return;
        struct hub *h = atomic_exchange_explicit(&c->given, NULL, memory_order_acquire);
        coro_switch(&c->idle, h->coro);
    }
}

_Noreturn void carrier_idle_entry(void *carrier)
{
    libc_thread_begin();
    atomic_store(&green_tls.own, OWN_HUB);
    green_tls.native = ((struct carrier *)carrier)->native_tp;
    carrier_idle(carrier, false);
    __builtin_trap();
}

static void *carrier_thread(void *arg)
{
    struct carrier *c = arg;
    native_begin();
    native_name("green-carrier");
    carrier_set_mask(c, MASK_ALL);
    coro_adopt(&c->idle);
    c->native_tp = c->idle.tp;
    carrier_register(c);
    if (!atomic_load(&c->given))
        carrier_list_spare(c);
    atomic_fetch_sub(&carrier_starting, 1);
    carrier_idle(c, true);
    carrier_unregister(c);
    native_end();
    return NULL;
}

/* A new carrier, as a spare or (first != NULL) to run that hub at once. Calls the real
 * pthread_create, and so the program's malloc: outside the runtime, or on the monitor. */
bool carrier_spawn(struct hub *first)
{
    if (carrier_made + atomic_load(&carrier_starting) >= hub_settings.max_carriers) {
        static _Atomic bool said;
        static const char text[] =
            "libgreen: the bound on operating-system threads is reached; calls that block now "
            "stop the other green threads\nlibgreen: raise it with --max-carriers\n";
        if (!atomic_exchange(&said, true))
            sys_3(SYS_write, 2, text, sizeof text - 1);
        return false;
    }
    struct carrier *c = carrier_new();
    if (!c)
        return false;
    if (first) {
        first->carrier = c;
        atomic_store(&c->given, first);
        atomic_store(&c->wake, 1);
    }
    atomic_fetch_add(&carrier_starting, 1);
    int error = native_thread(carrier_thread, c, CARRIER_STACK);
    if (error) {
        atomic_fetch_sub(&carrier_starting, 1);
        carrier_unregister(c);
        return false;
    }
    return true;
}

/* An idle context of our own for the calling OS thread, whose libc control block and stack belong
 * to a green thread. Returns 0 or an errno. */
static int carrier_own_idle(struct carrier *c, struct green *g)
{
    struct coro_attr attr = {.stack_size = MAIN_IDLE_STACK, .guard_size = 4096};
    struct coro *idle = coro_new(&attr, green_extra, (void (*)(void *))carrier_idle_entry, c);
    if (!idle)
        return EAGAIN;
    c->idle = *idle;
    c->native_tp = g->coro.tp;
    g->carrier = c;
    return 0;
}

/* The main OS thread becomes the first carrier: it runs the main green thread now. */
int carrier_start(struct green *main_green)
{
    struct carrier *c = carrier_new();
    if (!c || carrier_own_idle(c, main_green))
        return EAGAIN;
    carrier_register(c);
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &c->mask, sizeof c->mask);
    main_green->mask = c->mask;
    main_green->hub->carrier = c;
    return 0;
}

/* In a forked child: the parent's OS threads are not here. */
void carrier_forget(void)
{
    lock_init(&spare_lock);
    spare_head = NULL;
    spare_count = 0;
    atomic_store(&carrier_starting, 0);
    carrier_all = carrier_retired = NULL;
    carrier_made = 0;
}

/* The same on the OS thread of the green thread that forked: it is the only one. libc takes the
 * native stack under the carrier's former idle context for a dead thread's and reuses it. */
int carrier_fork(struct green *self)
{
    struct carrier *c = self->carrier;
    carrier_forget();
    c->post = NULL;
    c->forked = true;
    atomic_store(&c->given, NULL);
    atomic_store(&c->wake, 0);
    carrier_register(c);
    return carrier_own_idle(c, self);
}

void green_forked(void)
{
    struct green *g = self_green();
    if (g && g->carrier)
        g->carrier->forked = true;
}

_Noreturn void carrier_bury(struct green *g, bool (*release)(struct green *))
{
    struct carrier *c = g->carrier;
    carrier_set_mask(c, MASK_ALL);
    c->dead = g;
    c->release = release;
    coro_switch(&g->coro, &c->idle);
    __builtin_trap();
}
