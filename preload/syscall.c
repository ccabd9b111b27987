/* syscall(): the numbers of calls that have wrappers go to the wrappers, so that a program which
 * goes past libc's functions parks, yields and is booked like any other. All others pass through.
 *
 * A wrapper of libc's function and the system call differ in places: a function that returns its
 * error, sets that are as large as the kernel's, arguments in another order. That is settled here.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "coro/libc.h"
#include "hub/hub.h"
#include "preload/bind.h"
#include "preload/blocking.h"
#include "preload/futex.h"
#include "preload/locks.h"
#include "preload/patch.h"
#include "preload/schedattr.h"
#include "preload/signal.h"
#include "preload/thread.h"

/* Newer than Debian 12's headers. */
enum { NUMBER_FUTEX_WAKE = 454, NUMBER_FUTEX_WAIT = 455 };

enum { KERNEL_SIGSET = 8 }; /* bytes of the kernel's signal set */

struct call {
    long number;
    long a, b, c, d, e, f;
};

static long call_real(const struct call *s)
{
    return real.syscall(s->number, s->a, s->b, s->c, s->d, s->e, s->f);
}

static long call_result(long kernel)
{
    if (kernel >= 0 || kernel < -4095)
        return kernel;
    errno = (int)-kernel;
    return -1;
}

static long call_error(int error)
{
    return call_result(-error);
}

/* Blocks in the kernel, where nothing can be waited for. */
static long call_blocking(const struct call *s)
{
    return call_result(blocking_syscall(false, s->number, s->a, s->b, s->c, s->d, s->e, s->f));
}

/* Changes the state of the calling OS thread, which threads that it makes have too. */
static long call_bound(const struct call *s)
{
    bind_self();
    return call_real(s);
}

/* The kernel's set as libc's. NULL stays NULL. */
static const sigset_t *call_sigset(long address, sigset_t *room)
{
    if (!address)
        return NULL;
    memset(room, 0, sizeof *room);
    memcpy(room, (const void *)address, KERNEL_SIGSET);
    return room;
}

/* ---- futex, on any thread ---- */

static long call_futex(const struct call *s, bool green)
{
    struct futex_args f = {(uint32_t *)s->a, (int)s->b,        (uint32_t)s->c,
                           (uintptr_t)s->d,  (uint32_t *)s->e, (uint32_t)s->f};
    return call_result(futex_call(&f, green));
}

/* ---- Descriptors ---- */

/* True when the number was one of these; the result in *r. */
static bool call_descriptor(const struct call *s, long *r)
{
    switch (s->number) {
    case SYS_read:
        *r = green_read((int)s->a, (void *)s->b, (size_t)s->c);
        return true;
    case SYS_write:
        *r = green_write((int)s->a, (const void *)s->b, (size_t)s->c);
        return true;
    case SYS_readv:
        *r = green_readv((int)s->a, (const struct iovec *)s->b, (int)s->c);
        return true;
    case SYS_writev:
        *r = green_writev((int)s->a, (const struct iovec *)s->b, (int)s->c);
        return true;
    case SYS_close:
        *r = green_close((int)s->a);
        return true;
    case SYS_close_range:
        *r = green_close_range((unsigned)s->a, (unsigned)s->b, (int)s->c);
        return true;
    case SYS_dup:
        *r = green_dup((int)s->a);
        return true;
#ifdef SYS_dup2
    case SYS_dup2:
        *r = green_dup2((int)s->a, (int)s->b);
        return true;
    case SYS_pipe:
        *r = green_pipe((int *)s->a);
        return true;
#endif
    case SYS_dup3:
        *r = green_dup3((int)s->a, (int)s->b, (int)s->c);
        return true;
    case SYS_pipe2:
        *r = green_pipe2((int *)s->a, (int)s->b);
        return true;
    case SYS_fcntl:
        *r = green_fcntl((int)s->a, (int)s->b, s->c);
        return true;
    case SYS_ioctl:
        *r = green_ioctl((int)s->a, (unsigned long)s->b, (void *)s->c);
        return true;
    default:
        return false;
    }
}

static bool call_socket(const struct call *s, long *r)
{
    switch (s->number) {
    case SYS_socket:
        *r = green_socket((int)s->a, (int)s->b, (int)s->c);
        return true;
    case SYS_socketpair:
        *r = green_socketpair((int)s->a, (int)s->b, (int)s->c, (int *)s->d);
        return true;
    case SYS_accept:
        *r = green_accept((int)s->a, (struct sockaddr *)s->b, (socklen_t *)s->c);
        return true;
    case SYS_accept4:
        *r = green_accept4((int)s->a, (struct sockaddr *)s->b, (socklen_t *)s->c, (int)s->d);
        return true;
    case SYS_connect:
        *r = green_connect((int)s->a, (const struct sockaddr *)s->b, (socklen_t)s->c);
        return true;
    case SYS_recvfrom:
        *r = green_recvfrom((int)s->a, (void *)s->b, (size_t)s->c, (int)s->d,
                            (struct sockaddr *)s->e, (socklen_t *)s->f);
        return true;
    case SYS_recvmsg:
        *r = green_recvmsg((int)s->a, (struct msghdr *)s->b, (int)s->c);
        return true;
    case SYS_recvmmsg:
        *r = green_recvmmsg((int)s->a, (struct mmsghdr *)s->b, (unsigned)s->c, (int)s->d,
                            (struct timespec *)s->e);
        return true;
    case SYS_sendto:
        *r = green_sendto((int)s->a, (const void *)s->b, (size_t)s->c, (int)s->d,
                          (const struct sockaddr *)s->e, (socklen_t)s->f);
        return true;
    case SYS_sendmsg:
        *r = green_sendmsg((int)s->a, (const struct msghdr *)s->b, (int)s->c);
        return true;
    case SYS_sendmmsg:
        *r = green_sendmmsg((int)s->a, (struct mmsghdr *)s->b, (unsigned)s->c, (int)s->d);
        return true;
    case SYS_shutdown:
        *r = green_shutdown((int)s->a, (int)s->b);
        return true;
    case SYS_setsockopt:
        *r = green_setsockopt((int)s->a, (int)s->b, (int)s->c, (const void *)s->d, (socklen_t)s->e);
        return true;
    default:
        return false;
    }
}

/* Sets of descriptors. The kernel's ppoll and pselect6 write back what is left of the time, which
 * libc's functions spare the program; so does this. */
static bool call_select(const struct call *s, long *r)
{
    sigset_t mask;
    switch (s->number) {
#ifdef SYS_poll
    case SYS_poll:
        *r = green_poll((struct pollfd *)s->a, (nfds_t)s->b, (int)s->c);
        return true;
    case SYS_select:
        *r = green_select((int)s->a, (fd_set *)s->b, (fd_set *)s->c, (fd_set *)s->d,
                          (struct timeval *)s->e);
        return true;
    case SYS_epoll_wait:
        *r = green_epoll_wait((int)s->a, (struct epoll_event *)s->b, (int)s->c, (int)s->d);
        return true;
#endif
    case SYS_ppoll:
        *r = green_ppoll((struct pollfd *)s->a, (nfds_t)s->b, (const struct timespec *)s->c,
                         call_sigset(s->d, &mask));
        return true;
    case SYS_pselect6: {
        const long *pair = (const long *)s->f; /* the set's address and its size */
        *r = green_pselect((int)s->a, (fd_set *)s->b, (fd_set *)s->c, (fd_set *)s->d,
                           (const struct timespec *)s->e, pair ? call_sigset(*pair, &mask) : NULL);
        return true;
    }
    case SYS_epoll_pwait:
        *r = green_epoll_pwait((int)s->a, (struct epoll_event *)s->b, (int)s->c, (int)s->d,
                               call_sigset(s->e, &mask));
        return true;
    case SYS_epoll_pwait2:
        *r = green_epoll_pwait2((int)s->a, (struct epoll_event *)s->b, (int)s->c,
                                (const struct timespec *)s->d, call_sigset(s->e, &mask));
        return true;
    default:
        return false;
    }
}

/* ---- Threads, by their ids: on any thread, for only green ones have ids that the kernel does not know ---- */

/* The kernel returns the size of its set of processors; libc's function hides that. */
static long call_getaffinity(const struct call *s)
{
    long size = real.syscall(SYS_sched_getaffinity, 0, s->b, s->c, 0, 0, 0);
    if (size < 0 || !green_sched_getaffinity((pid_t)s->a, (size_t)s->b, (cpu_set_t *)s->c))
        return size;
    return -1;
}

/* The kernel's result is 20 less the niceness, never negative. */
static long call_getpriority(const struct call *s)
{
    errno = 0;
    int nice = green_getpriority((__priority_which_t)s->a, (id_t)s->b);
    return nice == -1 && errno ? -1 : 20 - nice;
}

/* An I/O priority is an OS thread's. */
static struct thread *call_io_target(const struct call *s)
{
    enum { WHO_PROCESS = 1 };
    if (s->a != WHO_PROCESS)
        return NULL;
    return s->b ? thread_of_tid((pid_t)s->b) : thread_self();
}

static long call_ioprio(const struct call *s)
{
    struct thread *t = call_io_target(s);
    bool sets = s->number == SYS_ioprio_set;
    if (sets && t && t == thread_self())
        bind_self();
    if (!t || (sets && !t->os_tid)) /* 0 would be the caller's: another's that is not bound has none to set */
        return call_real(s);
    return real.syscall(s->number, s->a, t->os_tid, s->c, 0, 0, 0);
}

static bool call_by_id(const struct call *s, long *r)
{
    switch (s->number) {
    case SYS_gettid:
        *r = green_gettid();
        return true;
    case SYS_sched_yield:
        *r = green_sched_yield();
        return true;
    case SYS_sched_setattr:
        *r = schedattr_set((pid_t)s->a, (const void *)s->b, (unsigned)s->c);
        return true;
    case SYS_sched_getattr:
        *r = schedattr_get((pid_t)s->a, (void *)s->b, (unsigned)s->c, (unsigned)s->d);
        return true;
    case SYS_sched_setaffinity:
        *r = green_sched_setaffinity((pid_t)s->a, (size_t)s->b, (const cpu_set_t *)s->c);
        return true;
    case SYS_sched_getaffinity:
        *r = call_getaffinity(s);
        return true;
    case SYS_sched_setscheduler:
        *r = green_sched_setscheduler((pid_t)s->a, (int)s->b, (const struct sched_param *)s->c);
        return true;
    case SYS_sched_getscheduler:
        *r = green_sched_getscheduler((pid_t)s->a);
        return true;
    case SYS_sched_setparam:
        *r = green_sched_setparam((pid_t)s->a, (const struct sched_param *)s->b);
        return true;
    case SYS_sched_getparam:
        *r = green_sched_getparam((pid_t)s->a, (struct sched_param *)s->b);
        return true;
    case SYS_sched_rr_get_interval:
        *r = green_sched_rr_get_interval((pid_t)s->a, (struct timespec *)s->b);
        return true;
    case SYS_setpriority:
        *r = green_setpriority((__priority_which_t)s->a, (id_t)s->b, (int)s->c);
        return true;
    case SYS_getpriority:
        *r = call_getpriority(s);
        return true;
    case SYS_ioprio_set:
    case SYS_ioprio_get:
        *r = call_ioprio(s);
        return true;
    case SYS_kill:
        *r = green_kill((pid_t)s->a, (int)s->b);
        return true;
    case SYS_tkill:
        *r = thread_of_tid((pid_t)s->a) ? green_tgkill(getpid(), (pid_t)s->a, (int)s->b) : call_real(s);
        return true;
    case SYS_tgkill:
        *r = green_tgkill((pid_t)s->a, (pid_t)s->b, (int)s->c);
        return true;
    case SYS_rt_tgsigqueueinfo:
        *r = sigsend_tgsigqueueinfo((pid_t)s->a, (pid_t)s->b, (int)s->c, (const siginfo_t *)s->d);
        return true;
    default:
        return false;
    }
}

/* ---- Time, signals, processes ---- */

static bool call_thread(const struct call *s, long *r)
{
    switch (s->number) {
    case SYS_nanosleep:
        *r = green_nanosleep((const struct timespec *)s->a, (struct timespec *)s->b);
        return true;
    case SYS_clock_nanosleep:
        *r = call_error(green_clock_nanosleep(
            (clockid_t)s->a, (int)s->b, (const struct timespec *)s->c, (struct timespec *)s->d));
        return true;
    case SYS_set_tid_address: /* the word that is there is libc's, and the OS thread's for life */
        *r = green_gettid();
        return true;
    case SYS_exit: /* would end the OS thread, and the hub with it */
        green_pthread_exit(NULL);
    default:
        return false;
    }
}

static long call_sigprocmask(const struct call *s)
{
    sigset_t set, old;
    if (s->d != KERNEL_SIGSET)
        return call_error(EINVAL);
    long r = green_sigprocmask((int)s->a, call_sigset(s->b, &set), s->c ? &old : NULL);
    if (!r && s->c)
        memcpy((void *)s->c, &old, KERNEL_SIGSET);
    return r;
}

static bool call_signal(const struct call *s, long *r)
{
    sigset_t set;
    switch (s->number) {
    case SYS_rt_sigprocmask:
        *r = call_sigprocmask(s);
        return true;
    case SYS_rt_sigsuspend:
        *r = green_sigsuspend(call_sigset(s->a, &set));
        return true;
    case SYS_rt_sigtimedwait:
        *r = green_sigtimedwait(call_sigset(s->a, &set), (siginfo_t *)s->b,
                                (const struct timespec *)s->c);
        return true;
    case SYS_sigaltstack:
        *r = green_sigaltstack((const stack_t *)s->a, (stack_t *)s->b);
        return true;
#ifdef SYS_pause
    case SYS_pause:
        *r = green_pause();
        return true;
#endif
    default:
        return false;
    }
}

static bool call_process(const struct call *s, long *r)
{
    switch (s->number) {
    case SYS_wait4:
        *r = green_wait4((pid_t)s->a, (int *)s->b, (int)s->c, (struct rusage *)s->d);
        return true;
    case SYS_waitid:
        *r = s->e ? call_blocking(s)
                  : green_waitid((idtype_t)s->a, (id_t)s->b, (siginfo_t *)s->c, (int)s->d);
        return true;
#ifdef SYS_fork
    case SYS_fork:
        *r = green__Fork();
        return true;
#endif
    case SYS_clone:
        if (s->a != SIGCHLD || s->b)
            return false;
        *r = green__Fork();
        return true;
    case SYS_execve:
        *r = green_execve((const char *)s->a, (char *const *)s->b, (char *const *)s->c);
        return true;
    case SYS_execveat:
        *r = green_execveat((int)s->a, (const char *)s->b, (char *const *)s->c, (char *const *)s->d,
                            (int)s->e);
        return true;
    case SYS_prctl:
        *r = green_prctl((int)s->a, (unsigned long)s->b, (unsigned long)s->c, (unsigned long)s->d,
                         (unsigned long)s->e);
        return true;
    case SYS_setfsuid:
        *r = green_setfsuid((uid_t)s->a);
        return true;
    case SYS_setfsgid:
        *r = green_setfsgid((gid_t)s->a);
        return true;
    case SYS_capset:
        *r = green_capset((void *)s->a, (const void *)s->b);
        return true;
    case SYS_setns:
        *r = green_setns((int)s->a, (int)s->b);
        return true;
    case SYS_unshare:
        *r = green_unshare((int)s->a);
        return true;
    default:
        return false;
    }
}

/* Calls that no wrapper of libc's function stands for. */
static long call_other(const struct call *s)
{
    switch (s->number) {
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_seccomp:
    case SYS_ptrace:
        return call_bound(s);
    case SYS_futex_waitv:
    case NUMBER_FUTEX_WAIT:
        return call_blocking(s);
    case SYS_io_uring_enter:
        return s->c > 0 ? call_blocking(s) : call_real(s); /* c: completions to wait for */
    default:
        return call_real(s);
    }
}

/* A system call made by its number is no cancellation point, as its wrapper may be; but asynchronous
 * cancellation ends it. */
static long call_green(const struct call *s)
{
    long r;
    int state;
    bool async = libc_cancel_async((uintptr_t)__builtin_thread_pointer());
    if (!async)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (!call_thread(s, &r) && !call_descriptor(s, &r) && !call_socket(s, &r) &&
        !call_select(s, &r) && !call_signal(s, &r) && !call_process(s, &r))
        r = call_other(s);
    if (!async)
        pthread_setcancelstate(state, NULL);
    return r;
}

long green_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    struct call s = {number, a, b, c, d, e, f};
    if (lock_passes(PATCH_syscall))
        return call_real(&s);
    bool green = self_attach();
    long r;
    switch (number) {
    case SYS_futex:
        return call_futex(&s, green);
    case NUMBER_FUTEX_WAKE:
        return call_result(futex_wake_v2((uint32_t *)a, (unsigned long)b, (int)c, (unsigned)d));
    default:
        if (call_by_id(&s, &r))
            return r;
        return green ? call_green(&s) : call_real(&s);
    }
}
