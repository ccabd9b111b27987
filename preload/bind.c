/* Calls whose effect the kernel keeps with one OS thread, not with the process. On a shared carrier
 * they would change other green threads too, so the caller gets a carrier of its own first.
 */
#include "bind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "coro/libc.h"
#include "coro/sys.h"
#include "name.h"
#include "patch.h"
#include "sched.h"
#include "thread.h"

/* The kernel counts a process's threads as links of their directory. Without /proc: many. */
static bool bind_one_os_thread(void)
{
    struct stat st;
    return sys_4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) == 0 && st.st_nlink == 3;
}

void bind_self(void)
{
    struct thread *t = thread_self();
    if (t->green.bound || (green_count() == 1 && bind_one_os_thread()))
        return;
    green_pin();
    if (t->green.bound) {
        t->os_tid = (pid_t)sys_0(SYS_gettid);
        sched_apply();
        name_apply();
    }
}

/* ---- Credentials and rights of one OS thread ---- */

int green_setfsuid(uid_t uid)
{
    PASS_UNLESS_GREEN(setfsuid, uid);
    bind_self();
    return real.setfsuid(uid);
}

int green_setfsgid(gid_t gid)
{
    PASS_UNLESS_GREEN(setfsgid, gid);
    bind_self();
    return real.setfsgid(gid);
}

int green_capset(void *header, const void *data)
{
    PASS_UNLESS_GREEN(capset, header, data);
    bind_self();
    return real.capset(header, data);
}

int green_setns(int fd, int type)
{
    PASS_UNLESS_GREEN(setns, fd, type);
    bind_self();
    return real.setns(fd, type);
}

int green_unshare(int flags)
{
    PASS_UNLESS_GREEN(unshare, flags);
    bind_self();
    return real.unshare(flags);
}

/* A tracer is an OS thread, and its tracees listen to no other. */
long green_ptrace(enum __ptrace_request request, pid_t pid, void *address, void *data)
{
    if (!patch_passes(PATCH_ptrace))
        bind_self();
    return real.ptrace(request, pid, address, data);
}

/* ---- prctl ---- */

/* Does the operation change the calling OS thread? Those that only read, and those not known here,
 * change the process or nothing. The signal of PR_SET_PDEATHSIG comes when the parent's OS thread
 * ends, and goes to the process whichever of its threads asked: so it must be asked by one that
 * does not end, as the main OS thread never does. */
static bool prctl_binds(int option)
{
    switch (option) {
    case PR_SET_KEEPCAPS:
    case PR_SET_SECCOMP:
    case PR_SET_SECUREBITS:
    case PR_SET_NO_NEW_PRIVS:
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
    case PR_SET_SPECULATION_CTRL:
    case PR_SET_TSC:
    case PR_MCE_KILL:
    case PR_SET_IO_FLUSHER:
    case PR_SET_SYSCALL_USER_DISPATCH:
        return true;
    case PR_SET_PDEATHSIG:
        return sys_0(SYS_gettid) != sys_0(SYS_getpid);
    default:
        return false;
    }
}

int green_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    bool passes = patch_passes(PATCH_prctl);
    struct thread *t = thread_self();
    if (t && option == PR_SET_NAME) {
        name_set(t, (const char *)a);
        return 0;
    }
    if (t && option == PR_GET_NAME) {
        memcpy((char *)a, t->green.name, sizeof t->green.name);
        return 0;
    }
    if (!passes && prctl_binds(option))
        bind_self();
    return real.prctl(option, a, b, c, d);
}

/* ---- Nice ---- */

int green_nice(int increment)
{
    PASS_UNLESS_GREEN(nice, increment);
    bind_self();
    return real.nice(increment);
}

/* Another thread can only bind itself: it does so when it next comes out of the runtime. */
static int nice_ask(struct thread *t, int priority)
{
    atomic_store(&t->nice, priority);
    green_interrupt(&t->green, INTERRUPT_SIGNAL);
    return 0;
}

void bind_interrupted(struct green *g)
{
    struct thread *t = (struct thread *)g;
    if (!thread_is_green(g))
        return;
    int priority = atomic_exchange(&t->nice, THREAD_NO_NICE);
    if (priority == THREAD_NO_NICE)
        return;
    bind_self();
    sys_3(SYS_setpriority, PRIO_PROCESS, 0, priority);
}

/* The green thread whose priority is meant; NULL: the kernel knows what is. */
static struct thread *nice_target(enum patch_id symbol, __priority_which_t which, id_t who)
{
    (void)patch_passes(symbol);
    if (which != PRIO_PROCESS || !hub_started())
        return NULL;
    return who == 0 ? thread_self() : thread_of_tid((pid_t)who);
}

int green_setpriority(__priority_which_t which, id_t who, int priority)
{
    struct thread *t = nice_target(PATCH_setpriority, which, who);
    if (!t)
        return real.setpriority(which, who, priority);
    if (t == thread_self()) {
        bind_self();
        return real.setpriority(which, 0, priority);
    }
    return t->os_tid ? real.setpriority(which, (id_t)t->os_tid, priority) : nice_ask(t, priority);
}

int green_getpriority(__priority_which_t which, id_t who)
{
    struct thread *t = nice_target(PATCH_getpriority, which, who);
    return real.getpriority(which, t ? (id_t)t->os_tid : who);
}
