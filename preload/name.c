/* Names of threads: kept with the green thread. The main thread's is the process's as well, which
 * ps and pgrep show; a bound thread's is its OS thread's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>

#include "coro/sys.h"
#include "name.h"
#include "patch.h"

enum { NAME_SIZE = 16 }; /* the kernel's TASK_COMM_LEN */

void name_set(struct thread *t, const char *name)
{
    char copy[NAME_SIZE] = {0};
    strncpy(copy, name, NAME_SIZE - 1);
    memcpy(t->green.name, copy, NAME_SIZE);
    if (t->os_tid && t == thread_self())
        sys_2(SYS_prctl, PR_SET_NAME, copy);
    if (!t->main)
        return;
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/comm", O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    sys_3(SYS_write, fd, copy, strlen(copy));
    sys_1(SYS_close, fd);
}

void name_apply(void)
{
    const struct thread *t = thread_self();
    if (t && (t->main || t->kept || sys_0(SYS_gettid) != sys_0(SYS_getpid)))
        sys_2(SYS_prctl, PR_SET_NAME, t->green.name);
}

int green_pthread_setname_np(pthread_t id, const char *name)
{
    (void)patch_passes(PATCH_pthread_setname_np);
    struct thread *t = thread_of(id);
    if (!t)
        return real.pthread_setname_np(id, name);
    if (strlen(name) >= NAME_SIZE)
        return ERANGE;
    if (!thread_lives(t))
        return ENOENT; /* what libc has for a thread without a file in /proc */
    name_set(t, name);
    return 0;
}

int green_pthread_getname_np(pthread_t id, char *name, size_t size)
{
    (void)patch_passes(PATCH_pthread_getname_np);
    struct thread *t = thread_of(id);
    if (!t)
        return real.pthread_getname_np(id, name, size);
    if (size < NAME_SIZE)
        return ERANGE;
    if (!thread_lives(t))
        return ENOENT;
    memcpy(name, t->green.name, NAME_SIZE);
    return 0;
}
