/* Signals for one thread: pthread_kill and its kin, and what the kernel sends to who makes a call. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coro/sys.h"
#include "coro/tid.h"
#include "hub/hub.h"
#include "preload/kick.h"
#include "preload/patch.h"
#include "preload/signal.h"
#include "preload/thread.h"


static void info_fill(siginfo_t *info, int sig, int code)
{
    *info = (siginfo_t){.si_signo = sig, .si_code = code};
    info->si_pid = (pid_t)sys_0(SYS_getpid);
    info->si_uid = (uid_t)sys_0(SYS_getuid);
}

static int sent(int error)
{
    if (error)
        errno = error;
    return error ? -1 : 0;
}

/* ---- From the kernel, with a call that fails ---- */

/* Of what is pending for the OS thread and for the process the kernel gives the former first, and says
 * of it that the process sent it. Anything else was there before. */
void signal_of_call_kept(int sig)
{
    static const struct timespec zero;
    struct green *g = self_green();
    uint64_t set = signal_bit(sig);
    siginfo_t info;
    if (!g || g->foreign || !(g->mask & set) ||
        sys_4(SYS_rt_sigtimedwait, &set, &info, &zero, sizeof set) != sig)
        return;
    if (kick_received(sig, &info))
        info_fill(&info, sig, SI_USER);
    if (info.si_code == SI_USER && info.si_pid == (pid_t)sys_0(SYS_getpid))
        signal_send(g, sig, &info);
    else
        signal_requeue(sig, &info);
}

/* ---- From the program ---- */

int green_pthread_kill(pthread_t thread, int sig)
{
    (void)patch_passes(PATCH_pthread_kill);
    struct thread *t = thread_of(thread);
    if (!t)
        return real.pthread_kill(thread, sig);
    if (sig < 0 || sig >= _NSIG || sig == 32 || sig == 33)
        return EINVAL;
    if (!sig || !thread_lives(t))
        return 0;
    siginfo_t info;
    info_fill(&info, sig, SI_TKILL);
    return signal_send(&t->green, sig, &info);
}

int green_pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
    (void)patch_passes(PATCH_pthread_sigqueue);
    struct thread *t = thread_of(thread);
    if (!t)
        return real.pthread_sigqueue(thread, sig, value);
    if (sig < 0 || sig >= _NSIG || sig == 32 || sig == 33)
        return EINVAL;
    if (!sig || !thread_lives(t))
        return 0;
    siginfo_t info;
    info_fill(&info, sig, SI_QUEUE);
    info.si_value = value;
    return signal_send(&t->green, sig, &info);
}

int green_raise(int sig)
{
    PASS_UNLESS_GREEN(raise, sig);
    if (sig <= 0 || sig >= _NSIG) {
        if (sig == 0)
            return 0;
        errno = EINVAL;
        return -1;
    }
    siginfo_t info;
    info_fill(&info, sig, SI_TKILL);
    return sent(signal_send(green_tls.self, sig, &info));
}

/* Who of this process gets a signal that it sends to itself: the main thread if it takes it, else
 * the caller, as the kernel chooses; NULL when neither does, or no handler would run. */
static struct green *kill_target(pid_t pid, int sig)
{
    struct sigaction now;
    if (sig < 1 || sig >= _NSIG || pid != (pid_t)sys_0(SYS_getpid) ||
        real.sigaction(sig, NULL, &now) || now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)
        return NULL;
    struct green *self = green_tls.self;
    struct thread *main_thread = thread_of_tid(pid);
    if (main_thread && !(main_thread->green.mask & signal_bit(sig)))
        return &main_thread->green;
    return self->mask & signal_bit(sig) ? NULL : self;
}

/* A handler that the caller takes runs before kill() returns, on whatever OS thread it is. */
int green_kill(pid_t pid, int sig)
{
    if (pid > TID_KERNEL_MOST && thread_of_tid(pid)) /* the kernel takes a thread's id for its process's */
        pid = (pid_t)sys_0(SYS_getpid);
    PASS_UNLESS_GREEN(kill, pid, sig);
    struct green *target = kill_target(pid, sig);
    if (!target)
        return real.kill(pid, sig);
    siginfo_t info;
    info_fill(&info, sig, SI_USER);
    return sent(signal_send(target, sig, &info));
}

/* A green thread's id is above all that the kernel gives. */
static struct thread *tgkill_target(pid_t pid, pid_t tid)
{
    return pid == (pid_t)sys_0(SYS_getpid) ? thread_of_tid(tid) : NULL;
}

int green_tgkill(pid_t pid, pid_t tid, int sig)
{
    (void)patch_passes(PATCH_tgkill);
    struct thread *t = tgkill_target(pid, tid);
    if (!t)
        return real.tgkill(pid, tid, sig);
    if (sig < 0 || sig >= _NSIG) {
        errno = EINVAL;
        return -1;
    }
    if (!sig)
        return 0;
    siginfo_t info;
    info_fill(&info, sig, SI_TKILL);
    return sent(signal_send(&t->green, sig, &info));
}

long sigsend_tgsigqueueinfo(pid_t pid, pid_t tid, int sig, const siginfo_t *given)
{
    struct thread *t = tgkill_target(pid, tid);
    if (!t || !given || sig <= 0 || sig >= _NSIG)
        return real.syscall(SYS_rt_tgsigqueueinfo, pid, t ? sys_0(SYS_gettid) : tid, sig,
                            (long)given, 0, 0);
    siginfo_t info = *given;
    info.si_signo = sig;
    return sent(signal_send(&t->green, sig, &info));
}
