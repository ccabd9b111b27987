/* System V message queues and semaphores: no descriptor tells when they are ready. What goes
 * through at once is done at once; else the hub is handed off. The kernel restarts none of these
 * calls after a signal (signal(7)).
 */
#include <errno.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "blocking.h"
#include "cancel.h"
#include "iotry.h"
#include "patch.h"

int green_msgsnd(int id, const void *message, size_t size, int flags)
{
    PASS_UNLESS_GREEN(msgsnd, id, message, size, flags);
    cancel_act();
    long r = sys_4(SYS_msgsnd, id, message, size, flags | IPC_NOWAIT);
    if (r == -EAGAIN && !(flags & IPC_NOWAIT))
        r = blocking_syscall(true, SYS_msgsnd, id, (long)message, (long)size, flags, 0, 0);
    else if (r == -EAGAIN)
        green_futile();
    return (int)iotry_result(r);
}

ssize_t green_msgrcv(int id, void *message, size_t size, long type, int flags)
{
    PASS_UNLESS_GREEN(msgrcv, id, message, size, type, flags);
    cancel_act();
    long r = sys_5(SYS_msgrcv, id, message, size, type, flags | IPC_NOWAIT);
    if (r == -ENOMSG && !(flags & IPC_NOWAIT))
        r = blocking_syscall(true, SYS_msgrcv, id, (long)message, (long)size, type, flags, 0);
    else if (r == -ENOMSG)
        green_futile();
    return iotry_result(r);
}

/* All operations or none: they are tried with IPC_NOWAIT on each, from a copy. */
static long semop_now(int id, const struct sembuf *ops, size_t count)
{
    enum { COPY_MAX = 64 };
    struct sembuf copy[COPY_MAX];
    if (count > COPY_MAX)
        return -EAGAIN;
    memcpy(copy, ops, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i].sem_flg |= IPC_NOWAIT;
    return sys_4(SYS_semtimedop, id, copy, count, NULL);
}

static int semop_green(int id, struct sembuf *ops, size_t count, const struct timespec *timeout)
{
    long r = semop_now(id, ops, count);
    if (r == -EAGAIN)
        r = blocking_syscall(false, SYS_semtimedop, id, (long)ops, (long)count, (long)timeout, 0,
                             0);
    if (r == -EAGAIN)
        green_futile();
    return (int)iotry_result(r);
}

int green_semop(int id, struct sembuf *ops, size_t count)
{
    PASS_UNLESS_GREEN(semop, id, ops, count);
    return semop_green(id, ops, count, NULL);
}

int green_semtimedop(int id, struct sembuf *ops, size_t count, const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(semtimedop, id, ops, count, timeout);
    return semop_green(id, ops, count, timeout);
}
