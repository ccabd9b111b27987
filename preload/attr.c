/* Thread attributes. libc's functions that read and write a pthread_attr_t touch nothing but the
 * object, so they are used as they are; only the process-wide default is watched here, because a
 * thread made without an attribute must not cost a lock and six calls.
 */
#include "attr.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "patch.h"
#include "sched.h"
#include "thread.h"

/* What threads without an attribute get. Written when the runtime starts and by
 * pthread_setattr_default_np(), which programs call before they make threads. */
static struct attr attr_default;

static bool attr_all_cpus(const cpu_set_t *cpus)
{
    const unsigned char *bytes = (const unsigned char *)cpus;
    for (size_t i = 0; i < sizeof *cpus; i++)
        if (bytes[i] != 0xff)
            return false;
    return true;
}

/* The bits as the kernel numbers them. */
static uint64_t attr_kernel_mask(const sigset_t *set)
{
    uint64_t mask;
    memcpy(&mask, set, sizeof mask);
    return mask;
}

static int attr_parse(struct attr *to, const pthread_attr_t *from)
{
    void *low;
    size_t size, guard;
    int detach, inherit;
    *to = (struct attr){0};

    int error = pthread_attr_getstack(from, &low, &size);
    if (error)
        return error;
    /* libc keeps the upper end and answers with its distance: an end of 0 is no stack at all. */
    if ((uintptr_t)low + size != 0) {
        to->coro.stack_addr = low;
        to->coro.stack_size = size;
    } else {
        pthread_attr_getstacksize(from, &size);
        pthread_attr_getguardsize(from, &guard);
        to->coro.stack_size = config.stack_size ? (size_t)config.stack_size : size;
        to->coro.guard_size = guard;
    }

    pthread_attr_getdetachstate(from, &detach);
    to->detached = detach == PTHREAD_CREATE_DETACHED;
    pthread_attr_getinheritsched(from, &inherit);
    if (inherit == PTHREAD_EXPLICIT_SCHED) {
        struct sched_param param;
        to->explicit_policy = true;
        pthread_attr_getschedpolicy(from, &to->policy);
        pthread_attr_getschedparam(from, &param);
        to->priority = param.sched_priority;
    }
    /* libc answers with every bit set where none was ever given. */
    to->has_cpus = pthread_attr_getaffinity_np(from, sizeof to->cpus, &to->cpus) == 0 &&
                   !attr_all_cpus(&to->cpus);

    sigset_t set;
    if (pthread_attr_getsigmask_np(from, &set) == 0) {
        to->has_mask = true;
        to->mask = attr_kernel_mask(&set);
    }
    return 0;
}

int attr_read(struct attr *to, const pthread_attr_t *from)
{
    if (from)
        return attr_parse(to, from);
    *to = attr_default;
    return 0;
}

void attr_refresh(void)
{
    pthread_attr_t attr;
    if (pthread_getattr_default_np(&attr))
        return;
    attr_parse(&attr_default, &attr);
    pthread_attr_destroy(&attr);
}

void attr_start(void)
{
    pthread_attr_t attr;
    if (!config.stack_size || pthread_getattr_default_np(&attr))
        return;
    if (pthread_attr_setstacksize(&attr, (size_t)config.stack_size) == 0)
        real.pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

int green_pthread_setattr_default_np(const pthread_attr_t *attr)
{
    int error = real.pthread_setattr_default_np(attr);
    if (!error)
        attr_refresh();
    return error;
}

/* ---- What a thread has ---- */

static int attr_of_thread(struct thread *t, pthread_attr_t *attr)
{
    struct coro_stack stack;
    struct sched_param param;
    cpu_set_t cpus;

    int error = pthread_attr_init(attr);
    if (error)
        return error;
    coro_stack_of(&t->green.coro, &stack);
    error = pthread_attr_setstack(attr, stack.low, stack.size);
    if (!error)
        error = pthread_attr_setguardsize(attr, stack.guard_size);
    if (!error && atomic_load(&t->life) & THREAD_DETACHED)
        error = pthread_attr_setdetachstate(attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setschedpolicy(attr, sched_policy_of(t, &param) & ~SCHED_RESET_ON_FORK);
    pthread_attr_setschedparam(attr, &param);
    if (!error && sched_cpus_of(t, &cpus))
        error = pthread_attr_setaffinity_np(attr, sizeof cpus, &cpus);
    if (error)
        pthread_attr_destroy(attr);
    return error;
}

/* The main thread's stack is the one that the kernel made, and libc knows where it lies. */
int green_pthread_getattr_np(pthread_t id, pthread_attr_t *attr)
{
    (void)patch_passes(PATCH_pthread_getattr_np);
    struct thread *t = thread_of(id);
    if (!t || t->main)
        return real.pthread_getattr_np(id, attr);
    return attr_of_thread(t, attr);
}
