/* Signal actions as the kernel keeps them, for the two signals that libc keeps to itself: its
 * sigaction() refuses them. */
#ifndef PRELOAD_RAWSIGNAL_H
#define PRELOAD_RAWSIGNAL_H

#include <signal.h>
#include <stdint.h>

#include "coro/sys.h"

enum {
    RAW_SIGCANCEL = 32, /* pthread_cancel() sends it */
    RAW_SIGSETXID = 33, /* setuid() and its family send it to every OS thread */
    RAW_SA_RESTORER = 0x04000000,
};

/* The kernel's struct sigaction. */
struct raw_action {
    void (*handler)(int sig, siginfo_t *info, void *context);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* Results are the kernel's. Async-signal-safe. */
static inline long raw_sigaction(int sig, const struct raw_action *set, struct raw_action *old)
{
    return sys_4(SYS_rt_sigaction, sig, set, old, sizeof set->mask);
}

/* SIG_BLOCK or SIG_UNBLOCK one signal, past the books of masks. Async-signal-safe. */
static inline void raw_mask(int how, int sig)
{
    uint64_t set = (uint64_t)1 << (sig - 1);
    sys_4(SYS_rt_sigprocmask, how, &set, NULL, sizeof set);
}

#endif
