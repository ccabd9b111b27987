/* Scheduling calls: checked by the kernel, remembered with the green thread, reported again. The
 * kernel schedules OS threads, which green threads share, so nothing else can come of them; a bound
 * thread has an OS thread of its own, and there they are the kernel's.
 */
#include "sched.h"

#include <errno.h>
#include <string.h>

#include "coro/libc.h"
#include "coro/sys.h"
#include "patch.h"

/* ---- Asking the kernel ---- */

/* Would an OS thread of this process get that policy? Tried on the calling one and put back. */
static int sched_ask_policy(int policy, const struct sched_param *param)
{
    struct sched_param before;
    long policy_before = sys_1(SYS_sched_getscheduler, 0);
    if (policy_before < 0 || sys_2(SYS_sched_getparam, 0, &before) < 0)
        return EPERM;
    long error = sys_3(SYS_sched_setscheduler, 0, policy, param);
    if (error < 0)
        return (int)-error;
    sys_3(SYS_sched_setscheduler, 0, policy_before, &before);
    return 0;
}

/* What the kernel makes of a set of processors, which is the part of it that the process may use.
 * A mask that is longer than ours is taken as it is where its rest is empty. */
static int sched_ask_cpus(size_t size, const cpu_set_t *wanted, cpu_set_t *got)
{
    cpu_set_t before;
    long length = sys_3(SYS_sched_getaffinity, 0, sizeof before, &before);
    if (length < 0)
        return (int)-length;
    long error = sys_3(SYS_sched_setaffinity, 0, size, wanted);
    if (error < 0)
        return (int)-error;
    memset(got, 0, sizeof *got);
    sys_3(SYS_sched_getaffinity, 0, sizeof *got, got);
    sys_3(SYS_sched_setaffinity, 0, length, &before);
    return 0;
}

/* ---- What a thread has ---- */

int sched_policy_of(const struct thread *t, struct sched_param *param)
{
    if (t->sched.has_policy && !t->os_tid) {
        param->sched_priority = t->sched.priority;
        return t->sched.policy;
    }
    sys_2(SYS_sched_getparam, t->os_tid, param);
    return (int)sys_1(SYS_sched_getscheduler, t->os_tid);
}

static int sched_set_policy(struct thread *t, int policy, const struct sched_param *param)
{
    if (!thread_lives(t))
        return ESRCH;
    int error = t->os_tid ? (int)-sys_3(SYS_sched_setscheduler, t->os_tid, policy, param)
                          : sched_ask_policy(policy, param);
    if (!error) {
        t->sched.policy = policy;
        t->sched.priority = param->sched_priority;
        t->sched.has_policy = true;
    }
    return error;
}

static int sched_set_priority(struct thread *t, int priority)
{
    struct sched_param param;
    int policy = sched_policy_of(t, &param);
    param.sched_priority = priority;
    return sched_set_policy(t, policy, &param);
}

bool sched_cpus_of(const struct thread *t, cpu_set_t *cpus)
{
    if (t->sched.has_cpus && !t->os_tid) {
        *cpus = t->sched.cpus;
        return true;
    }
    memset(cpus, 0, sizeof *cpus);
    return sys_3(SYS_sched_getaffinity, t->os_tid, sizeof *cpus, cpus) >= 0;
}

static int sched_set_cpus(struct thread *t, size_t size, const cpu_set_t *cpus)
{
    if (!thread_lives(t))
        return ESRCH;
    if (t->os_tid)
        return (int)-sys_3(SYS_sched_setaffinity, t->os_tid, size, cpus);
    int error = sched_ask_cpus(size, cpus, &t->sched.cpus);
    if (!error)
        t->sched.has_cpus = true;
    return error;
}

/* Into a mask of the caller's size: the kernel refuses one that is too short for its processors, or
 * not made of words. */
static int sched_get_cpus(const struct thread *t, size_t size, cpu_set_t *cpus)
{
    cpu_set_t mine;
    long length = sys_3(SYS_sched_getaffinity, t->os_tid, size, cpus);
    if (length < 0)
        return (int)-length;
    if (!thread_lives(t))
        return ESRCH;
    if (t->sched.has_cpus && sched_cpus_of(t, &mine))
        memcpy(cpus, &mine, size < sizeof mine ? size : sizeof mine);
    if ((size_t)length < size)
        memset((char *)cpus + length, 0, size - (size_t)length);
    return 0;
}

int sched_inherit(struct thread_sched *to, const struct thread_sched *creator, const struct attr *a)
{
    int error = 0;
    *to = *creator;
    if (to->policy & SCHED_RESET_ON_FORK)
        to->has_policy = false;
    if (a->explicit_policy) {
        const struct sched_param param = {.sched_priority = a->priority};
        if (a->policy != SCHED_OTHER || a->priority != 0)
            error = sched_ask_policy(a->policy, &param);
        to->has_policy = true;
        to->policy = a->policy;
        to->priority = a->priority;
    }
    if (!error && a->has_cpus) {
        error = sched_ask_cpus(sizeof a->cpus, &a->cpus, &to->cpus);
        to->has_cpus = true;
    }
    return error;
}

void sched_apply(void)
{
    struct thread *t = thread_self();
    if (t && t->sched.has_policy) {
        const struct sched_param param = {.sched_priority = t->sched.priority};
        sys_3(SYS_sched_setscheduler, 0, t->sched.policy, &param);
    }
    if (t && t->sched.has_cpus)
        sys_3(SYS_sched_setaffinity, 0, sizeof t->sched.cpus, &t->sched.cpus);
}

/* ---- The calls, by pthread_t ---- */

int green_pthread_setschedparam(pthread_t id, int policy, const struct sched_param *param)
{
    (void)patch_passes(PATCH_pthread_setschedparam);
    struct thread *t = thread_of(id);
    return t ? sched_set_policy(t, policy, param) : real.pthread_setschedparam(id, policy, param);
}

int green_pthread_getschedparam(pthread_t id, int *policy, struct sched_param *param)
{
    (void)patch_passes(PATCH_pthread_getschedparam);
    struct thread *t = thread_of(id);
    if (!t)
        return real.pthread_getschedparam(id, policy, param);
    if (!thread_lives(t))
        return ESRCH;
    *policy = sched_policy_of(t, param);
    return 0;
}

int green_pthread_setschedprio(pthread_t id, int priority)
{
    (void)patch_passes(PATCH_pthread_setschedprio);
    struct thread *t = thread_of(id);
    return t ? sched_set_priority(t, priority) : real.pthread_setschedprio(id, priority);
}

int green_pthread_setaffinity_np(pthread_t id, size_t size, const cpu_set_t *cpus)
{
    (void)patch_passes(PATCH_pthread_setaffinity_np);
    struct thread *t = thread_of(id);
    return t ? sched_set_cpus(t, size, cpus) : real.pthread_setaffinity_np(id, size, cpus);
}

int green_pthread_getaffinity_np(pthread_t id, size_t size, cpu_set_t *cpus)
{
    (void)patch_passes(PATCH_pthread_getaffinity_np);
    struct thread *t = thread_of(id);
    return t ? sched_get_cpus(t, size, cpus) : real.pthread_getaffinity_np(id, size, cpus);
}

/* No clock counts a green thread's processor time. Its process's does at least never go back. */
int green_pthread_getcpuclockid(pthread_t id, clockid_t *clock)
{
    enum { CPUCLOCK_OF_THREAD = 6 };
    (void)patch_passes(PATCH_pthread_getcpuclockid);
    struct thread *t = thread_of(id);
    if (!t)
        return real.pthread_getcpuclockid(id, clock);
    if (!thread_lives(t))
        return ESRCH;
    *clock = t->os_tid ? (clockid_t)(~(unsigned)t->os_tid << 3 | CPUCLOCK_OF_THREAD)
                       : CLOCK_PROCESS_CPUTIME_ID;
    return 0;
}

/* ---- The calls, by thread id ---- */

/* The green thread that `pid` names in a call that the kernel takes thread ids for; 0 is the
 * caller, and the process's id its main thread. NULL: the kernel knows it. */
static struct thread *sched_target(enum patch_id symbol, pid_t pid)
{
    bool passes = patch_passes(symbol);
    if (pid == 0)
        return passes ? NULL : thread_self();
    return pid > 0 && hub_started() ? thread_of_tid(pid) : NULL;
}

static int sched_result(int error)
{
    if (error)
        errno = error;
    return error ? -1 : 0;
}

int green_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *cpus)
{
    struct thread *t = sched_target(PATCH_sched_setaffinity, pid);
    return t ? sched_result(sched_set_cpus(t, size, cpus))
             : real.sched_setaffinity(pid, size, cpus);
}

int green_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *cpus)
{
    struct thread *t = sched_target(PATCH_sched_getaffinity, pid);
    return t ? sched_result(sched_get_cpus(t, size, cpus))
             : real.sched_getaffinity(pid, size, cpus);
}

int green_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
    struct thread *t = sched_target(PATCH_sched_setscheduler, pid);
    return t ? sched_result(sched_set_policy(t, policy, param))
             : real.sched_setscheduler(pid, policy, param);
}

int green_sched_getscheduler(pid_t pid)
{
    struct sched_param param;
    struct thread *t = sched_target(PATCH_sched_getscheduler, pid);
    return t ? sched_policy_of(t, &param) : real.sched_getscheduler(pid);
}

int green_sched_setparam(pid_t pid, const struct sched_param *param)
{
    struct thread *t = sched_target(PATCH_sched_setparam, pid);
    return t ? sched_result(sched_set_priority(t, param->sched_priority))
             : real.sched_setparam(pid, param);
}

int green_sched_getparam(pid_t pid, struct sched_param *param)
{
    struct thread *t = sched_target(PATCH_sched_getparam, pid);
    if (!t)
        return real.sched_getparam(pid, param);
    sched_policy_of(t, param);
    return 0;
}

int green_sched_rr_get_interval(pid_t pid, struct timespec *interval)
{
    struct thread *t = sched_target(PATCH_sched_rr_get_interval, pid);
    return real.sched_rr_get_interval(t ? t->os_tid : pid, interval);
}

/* A bound thread keeps the id that it had. */
pid_t green_gettid(void)
{
    (void)patch_passes(PATCH_gettid);
    return thread_self() ? libc_tid((uintptr_t)__builtin_thread_pointer()) : real.gettid();
}

/* ---- Yielding ---- */

int green_sched_yield(void)
{
    PASS_UNLESS_GREEN(sched_yield);
    green_yield();
    return 0;
}

void green_thrd_yield(void)
{
    PASS_UNLESS_GREEN_VOID(thrd_yield);
    green_yield();
}
