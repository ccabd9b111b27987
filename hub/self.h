/* Who is running: the words in thread-local storage that every entry into the runtime reads.
 *
 * They lie in libgreen's initial-exec TLS, so each green thread has its own and they travel with
 * its thread pointer. See hub/handoff.c for the protocol between `own`, `in` and the monitor.
 */
#ifndef HUB_SELF_H
#define HUB_SELF_H

#include <stdatomic.h>
#include <stdbool.h>

struct green;

enum own {
    OWN_ATTACHED = 0, /* a green thread that its hub's carrier runs */
    OWN_REQUESTED,    /* attached, and asked by the monitor to yield */
    OWN_DETACHED,     /* a green thread that lost its hub and goes on alone on its OS thread */
    OWN_NATIVE,       /* not a green thread: a foreign OS thread, or the runtime has not started */
    OWN_HUB,          /* the hub itself, an idle carrier, the monitor, an offload worker */
    OWN_VFORK,        /* a vfork child on its parent's memory: nothing of the runtime is touched */
};

struct green_tls {
    _Atomic int own;      /* enum own; CASed by monitor and owner */
    _Atomic int in;       /* nonzero inside the runtime; written by the owner only */
    _Atomic int deferred; /* signals came while `in` was set; see hub/deliver.c */
    struct green *self;   /* the green thread, or a foreign thread's stand-in, or NULL */
    struct hub *hub;      /* on a hub's own control block: that hub; else NULL */
    unsigned long native; /* on an idle context of ours: libc's control block of the OS thread */
};

extern __thread struct green_tls green_tls
    __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* The green thread that runs here, or NULL where the real call must be made (before the first
 * green thread, on the hub, on foreign OS threads). A requested thread yields here, a detached one
 * rejoins its hub: the first thing every wrapper does. May switch green threads. */
struct green *self_attach_slow(void);

static inline struct green *self_attach(void)
{
    if (__builtin_expect(atomic_load_explicit(&green_tls.own, memory_order_relaxed) ==
                             OWN_ATTACHED, 1))
        return green_tls.self;
    return self_attach_slow();
}

/* Name that the wrapper macros use. */
static inline bool hub_attach(void)
{
    return self_attach() != 0;
}

/* The green thread that runs here, attached or not, without yielding or rejoining; NULL on
 * foreign OS threads and on the hub. Async-signal-safe. */
static inline struct green *self_green(void)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    return own <= OWN_DETACHED ? green_tls.self : 0;
}

#endif
