/* Waiting for children. A known child that ends is waited for by its pidfd on the hub; any child,
 * groups, and stops (a tracer's too), which pidfds do not report, by a real call that hands the hub off (under
 * --strict, where nothing is handed off, on a native helper thread). */
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wordexp.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/blocking.h"
#include "preload/cancel.h"
#include "preload/tracer.h"

struct wait_call {
    idtype_t type;
    id_t id;
    siginfo_t *info;
    int options;
    struct rusage *usage;
};

static long wait_result(long r)
{
    if (r < 0) {
        errno = (int)-r;
        return -1;
    }
    return 0;
}

/* waitid(2) with the usage that libc's function leaves out; all other forms come down to it. */
static long wait_now(const struct wait_call *c, int more)
{
    return wait_result(sys_5(SYS_waitid, c->type, c->id, c->info, c->options | more, c->usage));
}

static long wait_blocking(const struct wait_call *c)
{
    return wait_result(blocking_syscall(true, SYS_waitid, c->type, c->id, (long)c->info, c->options,
                                        (long)c->usage, 0));
}

/* Parks until the child has ended or was reaped by somebody else; false when it cannot be watched,
 * -1 with errno EINTR in *result when a handler ended the wait. */
static bool wait_by_pidfd(pid_t pid, long *result)
{
    long pidfd = sys_2(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return false;
    int fd = fd_make_private((int)pidfd);
    fd_opened(fd, FD_OTHER, 0);
    int at = fd;
    enum wait_result r;
    do
        r = io_wait(&at, IO_READ, DEADLINE_NEVER, WAIT_BY_SIGNAL | WAIT_BY_CANCEL);
    while (r == WAIT_RESTARTED);
    fd_closing(fd);
    fd_private_closed(fd);
    sys_1(SYS_close, fd);
    if (r == WAIT_CANCELLED)
        cancel_act();
    *result = 0;
    if (r == WAIT_INTERRUPTED) {
        errno = EINTR;
        *result = -1;
    }
    return true;
}

static long wait_green(struct wait_call *c)
{
    cancel_act();
    for (;;) {
        siginfo_t none = {0};
        siginfo_t *asked = c->info;
        if (!asked)
            c->info = &none;
        c->info->si_pid = 0;
        long r = wait_now(c, WNOHANG);
        bool found = r < 0 || c->info->si_pid || (c->options & WNOHANG);
        c->info = asked;
        if (found) {
            if (r == 0 && (c->options & WNOHANG))
                green_futile();
            return r;
        }
        if (c->type == P_PID && !(c->options & (WSTOPPED | WCONTINUED)) && !tracer_waits()) {
            if (wait_by_pidfd((pid_t)c->id, &r)) {
                if (r < 0)
                    return r;
                continue;
            }
        }
        return wait_blocking(c);
    }
}

/* The status word of wait(2) from what waitid(2) reports. */
static int status_of(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_KILLED:
        return info->si_status & 0x7f;
    case CLD_DUMPED:
        return (info->si_status & 0x7f) | 0x80;
    case CLD_CONTINUED:
        return 0xffff;
    default: /* CLD_STOPPED, CLD_TRAPPED; ptrace's events lie above the low byte */
        return (info->si_status << 8) | 0x7f;
    }
}

static pid_t wait_status(pid_t pid, int *status, int options, struct rusage *usage)
{
    siginfo_t info = {0};
    struct wait_call c = {.info = &info, .usage = usage};
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WALL | (int)__WCLONE)) {
        errno = EINVAL;
        return -1;
    }
    if (pid == INT32_MIN) {
        errno = ESRCH;
        return -1;
    }
    c.options = WEXITED | (options & ~WUNTRACED) | (options & WUNTRACED ? WSTOPPED : 0);
    c.type = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
    c.id = (id_t)(pid > 0 ? pid : pid == -1 ? 0 : pid == 0 ? getpgrp() : -pid);
    if (wait_green(&c) < 0)
        return -1;
    if (info.si_pid && status)
        *status = status_of(&info);
    return info.si_pid;
}

pid_t green_waitpid(pid_t pid, int *status, int options)
{
    PASS_UNLESS_GREEN(waitpid, pid, status, options);
    return wait_status(pid, status, options, NULL);
}

pid_t green_wait(int *status)
{
    PASS_UNLESS_GREEN(wait, status);
    return wait_status(-1, status, 0, NULL);
}

pid_t green_wait3(int *status, int options, struct rusage *usage)
{
    PASS_UNLESS_GREEN(wait3, status, options, usage);
    return wait_status(-1, status, options, usage);
}

pid_t green_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    PASS_UNLESS_GREEN(wait4, pid, status, options, usage);
    return wait_status(pid, status, options, usage);
}

int green_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    PASS_UNLESS_GREEN(waitid, type, id, info, options);
    struct wait_call c = {.type = type, .id = id, .info = info, .options = options};
    return (int)wait_green(&c);
}

/* ---- libc waits for its child inside ---- */

static long system_call(void *command)
{
    return real.system(command);
}

int green_system(const char *command)
{
    PASS_UNLESS_GREEN(system, command);
    cancel_act();
    fd_shared_all();
    return (int)blocking_call(system_call, (void *)(uintptr_t)command);
}

struct wordexp_call {
    const char *words;
    wordexp_t *result;
    int flags;
};

static long wordexp_call(void *arg)
{
    struct wordexp_call *c = arg;
    return real.wordexp(c->words, c->result, c->flags);
}

/* Most words need no shell, and then nothing waits. */
int green_wordexp(const char *words, wordexp_t *result, int flags)
{
    PASS_UNLESS_GREEN(wordexp, words, result, flags);
    if ((flags & WRDE_NOCMD) || (!strchr(words, '`') && !strstr(words, "$(")))
        return real.wordexp(words, result, flags);
    fd_shared_all();
    struct wordexp_call c = {words, result, flags};
    return (int)blocking_call(wordexp_call, &c);
}

FILE *green_popen(const char *command, const char *type)
{
    PASS_UNLESS_GREEN(popen, command, type);
    fd_shared_all();
    FILE *f = real.popen(command, type);
    if (f)
        fd_opened(fileno(f), FD_PIPE, FD_STREAM);
    return f;
}

static long pclose_call(void *stream)
{
    return real.pclose(stream);
}

int green_pclose(FILE *stream)
{
    PASS_UNLESS_GREEN(pclose, stream);
    cancel_act();
    fd_closing(fileno(stream));
    return (int)blocking_call(pclose_call, stream);
}
