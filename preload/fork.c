/* fork: the child of a green thread goes on green, alone.
 *
 * libc's own fork() runs pthread_atfork handlers, and ours, registered before any other, is the
 * first that runs in the child: the runtime is whole before the program's handlers use it. So
 * forks inside libc (daemon, forkpty) come out right as well.
 */
#include "preload/fork.h"

#include <errno.h>
#include <stddef.h>

#include "hub/debug/debugging.h"
#include "hub/hub.h"
#include "preload/dns.h"
#include "preload/name.h"
#include "preload/patch.h"
#include "preload/signal.h"
#include "preload/syslog.h"
#include "preload/sched.h"
#include "preload/stats.h"
#include "preload/thread.h"
#include "preload/tracer.h"

static void fork_child(void)
{
    hub_after_fork();
    signal_fork();
    syslog_fork();
    thread_after_fork();
    stats_after_fork();
    dns_fork();
    debug_fork();
    sched_apply(); /* the child's OS thread is the caller's alone */
    name_apply();
    fd_shared_all();
}

void fork_start(void)
{
    real.__register_atfork(NULL, NULL, fork_child, NULL);
}

pid_t green_fork(void)
{
    PASS_UNLESS_GREEN(fork);
    tracer_forks();
    pid_t pid = real.fork();
    if (pid > 0) {
        green_forked();
        fd_shared_all();
    }
    return pid;
}

/* _Fork() (POSIX 2024) runs no handlers. */
pid_t green__Fork(void)
{
    PASS_UNLESS_GREEN(_Fork);
    tracer_forks();
    pid_t pid = real._Fork();
    if (pid == 0) {
        fork_child();
    } else if (pid > 0) {
        green_forked();
        fd_shared_all();
    }
    return pid;
}

/* libc forks inside, and the child is the one that goes on: with other descriptors 0 to 2. */
int green_daemon(int nochdir, int noclose)
{
    int result = real.daemon(nochdir, noclose);
    if (result == 0 && !noclose)
        for (int fd = 0; fd <= 2; fd++)
            fd_closing(fd);
    return result;
}

/* Called by vfork_ARCH.S round the system call, in the parent. */
void vfork_begin(void);
void vfork_end(void);
pid_t vfork_failed(int error);
_Static_assert(OWN_VFORK == 5, "vfork_ARCH.S writes the number");
_Static_assert(offsetof(struct green_tls, own) == 0, "and finds it first in green_tls");

void vfork_begin(void)
{
    if (patch_passes(PATCH_vfork))
        return;
    tracer_forks();
    call_begin();
}

void vfork_end(void)
{
    struct green *g = self_green();
    if (g && g->calls) {
        green_forked();
        call_end();
    }
}

pid_t vfork_failed(int error)
{
    errno = error;
    return -1;
}
