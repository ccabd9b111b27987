/* sched_setattr and sched_getattr of green threads: as the other calls in sched.c. Each thread of a
 * GLib thread pool begins with one. */
#include "schedattr.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "patch.h"
#include "thread.h"

/* The kernel's struct sched_attr; headers differ in whether they have it. */
struct schedattr {
    uint32_t size; /* of the whole, as its user knows it */
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

enum { SIZE_FIRST = 48 }; /* of the structure's first edition */
enum { RESET_ON_FORK = 1, KEEP_POLICY = 8, KEEP_PARAMETERS = 16 }; /* flags */

static long schedattr_result(long kernel)
{
    if (kernel >= 0)
        return kernel;
    errno = (int)-kernel;
    return -1;
}

static struct thread *schedattr_target(pid_t tid)
{
    if (tid <= 0)
        return tid ? NULL : thread_self();
    return hub_started() ? thread_of_tid(tid) : NULL;
}

/* Tried on the calling OS thread and put back, but for what cannot always be: the niceness, and
 * that children begin anew. */
static long schedattr_ask(const struct schedattr *wanted, unsigned flags, struct schedattr *got)
{
    struct schedattr before, tried = {.size = 0};
    uint32_t size = wanted && wanted->size ? wanted->size : SIZE_FIRST;
    long error = sys_4(SYS_sched_getattr, 0, &before, sizeof before, 0);
    if (error < 0)
        return error;
    if (!wanted || size < SIZE_FIRST)
        return sys_3(SYS_sched_setattr, 0, wanted, flags); /* says what is wrong with it */
    memcpy(&tried, wanted, size < sizeof tried ? size : sizeof tried);
    tried.size = size < sizeof tried ? size : sizeof tried;
    tried.flags &= ~(uint64_t)RESET_ON_FORK;
    tried.nice = before.nice;
    error = sys_3(SYS_sched_setattr, 0, &tried, flags);
    if (error < 0)
        return error;
    sys_4(SYS_sched_getattr, 0, got, sizeof *got, 0);
    sys_3(SYS_sched_setattr, 0, &before, 0);
    return 0;
}

long schedattr_set(pid_t tid, const void *attr, unsigned flags)
{
    const struct schedattr *wanted = attr;
    struct thread *t = schedattr_target(tid);
    if (!t || t->os_tid)
        return schedattr_result(sys_3(SYS_sched_setattr, t ? t->os_tid : tid, attr, flags));
    if (!thread_lives(t))
        return schedattr_result(-ESRCH);
    struct schedattr got;
    long error = schedattr_ask(wanted, flags, &got);
    if (error < 0)
        return schedattr_result(error);
    if (!(wanted->flags & KEEP_POLICY)) {
        int reset = wanted->flags & RESET_ON_FORK ? SCHED_RESET_ON_FORK : 0;
        t->sched.policy = (int)got.policy | reset;
        t->sched.priority = (int)got.priority;
        t->sched.has_policy = true;
    }
    bool has_nice = got.policy == SCHED_OTHER || got.policy == SCHED_BATCH;
    if (has_nice && !(wanted->flags & KEEP_PARAMETERS) && wanted->nice != got.nice)
        return green_setpriority(PRIO_PROCESS, (id_t)tid, wanted->nice);
    return 0;
}

long schedattr_get(pid_t tid, void *attr, unsigned size, unsigned flags)
{
    struct schedattr *got = attr;
    struct thread *t = schedattr_target(tid);
    if (t && !thread_lives(t))
        return schedattr_result(-ESRCH);
    long result = sys_4(SYS_sched_getattr, t ? t->os_tid : tid, attr, size, flags);
    if (result == 0 && t && !t->os_tid && t->sched.has_policy) {
        got->policy = (uint32_t)(t->sched.policy & ~SCHED_RESET_ON_FORK);
        got->flags = t->sched.policy & SCHED_RESET_ON_FORK ? RESET_ON_FORK : 0;
        got->priority = (uint32_t)t->sched.priority;
    }
    return schedattr_result(result);
}
