/* Waiting for signals: pause, sigsuspend, and sigwait's family. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/cancel.h"
#include "preload/patch.h"
#include "preload/signal.h"

/* ---- Until a handler ran ---- */

static int sleep_for_handler(void)
{
    while (sleep_until(DEADLINE_NEVER, WAIT_BY_SIGNAL | WAIT_BY_CANCEL) == WAIT_CANCELLED)
        cancel_act();
    errno = EINTR;
    return -1;
}

int green_pause(void)
{
    PASS_UNLESS_GREEN(pause);
    cancel_act();
    return sleep_for_handler();
}

int green_sigsuspend(const sigset_t *mask)
{
    PASS_UNLESS_GREEN(sigsuspend, mask);
    cancel_act();
    struct green *g = green_tls.self;
    struct signal_swap swap;
    if (!signal_swap_begin(&swap, g, signal_mask_of(mask)))
        sleep_for_handler();
    signal_swap_end(&swap, g);
    errno = EINTR;
    return -1;
}

/* One signal is taken out of the mask (X/Open), or the mask's first 32 are given (BSD). */
int green___sigpause(int sig_or_mask, int is_sig)
{
    PASS_UNLESS_GREEN(__sigpause, sig_or_mask, is_sig);
    sigset_t mask;
    if (is_sig && (sig_or_mask < 1 || sig_or_mask >= _NSIG)) {
        errno = EINVAL;
        return -1;
    }
    uint64_t now = green_tls.self->mask;
    signal_set_of(is_sig ? now & ~signal_bit(sig_or_mask) : (uint32_t)sig_or_mask, &mask);
    return green_sigsuspend(&mask);
}

int green_sigpause(int mask)
{
    return green___sigpause(mask, 0);
}

int green___xpg_sigpause(int sig)
{
    return green___sigpause(sig, 1);
}

/* ---- For a signal, without its handler ---- */

/* What of `set` the kernel has pending for the process or this OS thread. */
static int take_kernel(const sigset_t *set, siginfo_t *info)
{
    struct timespec zero = {0, 0};
    long r = sys_4(SYS_rt_sigtimedwait, set, info, &zero, 8);
    return r > 0 ? (int)r : 0;
}

static int wait_for(const sigset_t *set, siginfo_t *info, int64_t deadline, bool restarts)
{
    struct green *g = green_tls.self;
    siginfo_t scratch;
    uint64_t wanted = signal_mask_of(set);
    if (!info)
        info = &scratch;
    long made = sys_4(SYS_signalfd4, -1, set, 8, O_CLOEXEC | O_NONBLOCK);
    int fd = made >= 0 ? fd_make_private((int)made) : -1;
    if (fd >= 0)
        fd_opened(fd, FD_OTHER, 0);
    int sig = 0, error = 0;
    g->wait_signals = wanted;
    while (!sig && !error) {
        if (signal_take(g, wanted, info)) {
            sig = info->si_signo;
            break;
        }
        if ((sig = take_kernel(set, info)))
            break;
        int at = fd;
        enum wait_result r = io_wait(&at, IO_READ, deadline, WAIT_BY_SIGNAL | WAIT_BY_CANCEL);
        if (r == WAIT_TIMED_OUT)
            error = EAGAIN;
        else if (r == WAIT_INTERRUPTED || r == WAIT_RESTARTED)
            error = restarts || atomic_load(&g->pending) & wanted ? 0 : EINTR;
        else if (r == WAIT_CANCELLED)
            error = ECANCELED;
    }
    g->wait_signals = 0;
    if (fd >= 0) {
        fd_closing(fd);
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
    }
    if (sig && info->si_code == SI_TKILL)
        info->si_code = SI_USER; /* as libc's own: to the waiter raise() is a user's signal */
    if (error == ECANCELED)
        cancel_act();
    errno = error ? error : errno;
    return error ? -1 : sig;
}

int green_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(sigtimedwait, set, info, timeout);
    cancel_act();
    if (timeout && (timeout->tv_sec < 0 || !timespec_valid(timeout))) {
        errno = EINVAL;
        return -1;
    }
    return wait_for(set, info, timeout ? deadline_after(timespec_ns(timeout)) : DEADLINE_NEVER,
                    false);
}

int green_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    PASS_UNLESS_GREEN(sigwaitinfo, set, info);
    cancel_act();
    return wait_for(set, info, DEADLINE_NEVER, false);
}

/* POSIX has no EINTR here, and glibc goes on waiting. */
int green_sigwait(const sigset_t *set, int *sig)
{
    PASS_UNLESS_GREEN(sigwait, set, sig);
    cancel_act();
    int got = wait_for(set, NULL, DEADLINE_NEVER, true);
    if (got < 0)
        return errno;
    *sig = got;
    return 0;
}
