/* Signals of green threads. How they travel: see signal.c. */
#ifndef PRELOAD_SIGNAL_H
#define PRELOAD_SIGNAL_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "coro/sys.h"
#include "hub/green.h"

#pragma GCC visibility push(hidden)

static inline uint64_t signal_bit(int sig)
{
    return (uint64_t)1 << (sig - 1);
}

/* Hold all signals off but those of libc's own, and let them come again; the books of masks are not
 * touched, so there must be no switch between the two. Async-signal-safe. */
static inline uint64_t signals_hold(void)
{
    uint64_t all = ~(UINT64_C(3) << 31), before;
    sys_4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof all);
    return before;
}

static inline void signals_release(uint64_t before)
{
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
}

/* The kernel's form of a mask, without what must never be blocked, and back. */
uint64_t signal_mask_of(const sigset_t *set);
void signal_set_of(uint64_t mask, sigset_t *set);

/* At start-up. */
void signal_start(void);

/* What the program asked for. A copy that is consistent; async-signal-safe. */
struct sigaction signal_action(int sig);

/* Make `sig` pending for g and wake it. Ignored signals vanish; a default action that ends or stops
 * the process is the kernel's. Any thread. 0 or an errno (EAGAIN: too many are queued). */
int signal_send(struct green *g, int sig, const siginfo_t *info);

/* rt_tgsigqueueinfo(2), which libc has no function for, to green threads too. -1 and errno: the
 * kernel's. Any thread. */
long sigsend_tgsigqueueinfo(pid_t pid, pid_t tid, int sig, const siginfo_t *info);

/* Run the handlers of what is pending and not blocked for the calling green thread. Outside the
 * runtime. Returns HANDLERS_RAN, HANDLERS_ALL_RESTART as hub_interrupt_hook does. */
int signal_run_pending(struct green *g);

/* sigsuspend(2), pselect(2) and their kin: from begin to end the calling green thread g has another
 * mask, and a handler that runs at any moment between the two ends its wait (WAIT_BY_SIGNAL), even
 * one that began later. begin says whether one ran already. Nests, for a handler may wait so too. */
struct signal_swap {
    uint64_t mask;
    uint32_t swapped_at;
    bool mask_swapped;
};
bool signal_swap_begin(struct signal_swap *s, struct green *g, uint64_t mask);
void signal_swap_end(const struct signal_swap *s, struct green *g);

/* The calling green thread's system call gave `result`. A signal that the kernel sends with an error
 * (SIGPIPE, SIGXFSZ) is for who made the call, and where that one blocks it, it must be kept with it
 * before there is a switch: the next to run on this OS thread would have it. Keeps errno. */
void signal_of_call_kept(int sig);

static inline void signal_of_call(long result)
{
    if (__builtin_expect(result == -EPIPE || result == -EFBIG, 0))
        signal_of_call_kept(result == -EPIPE ? SIGPIPE : SIGXFSZ);
}

/* Take one pending signal of `set` from g, the calling thread, without a handler. */
bool signal_take(struct green *g, uint64_t set, siginfo_t *info);

/* Give a signal of the process's that came here back to the kernel, for whoever takes it.
 * Async-signal-safe. */
void signal_requeue(int sig, const siginfo_t *info);

/* What has come for the process and that no thread has been given yet. Any thread; a moment's view. */
uint64_t signal_process_pending(void);

/* Is the caller on g's alternate stack? */
bool signal_on_alt_stack(const struct green *g);

/* In a forked child: nothing is pending. */
void signal_fork(void);

#pragma GCC visibility pop

#endif
