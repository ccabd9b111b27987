/* Locks on files: taken without waiting where they are free, else waited for in the kernel, because
 * no descriptor becomes ready when another process lets go.
 */
#include "filelock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "blocking.h"
#include "cancel.h"
#include "iotry.h"
#include "patch.h"

static bool held_elsewhere(long r)
{
    return r == -EAGAIN || r == -EACCES;
}

int filelock_fcntl(int fd, int cmd, long arg)
{
    cancel_act();
    long r = sys_3(SYS_fcntl, fd, cmd == F_SETLKW ? F_SETLK : F_OFD_SETLK, arg);
    if (held_elsewhere(r))
        r = blocking_syscall(true, SYS_fcntl, fd, cmd, arg, 0, 0, 0);
    return (int)iotry_result(r);
}

int green_flock(int fd, int operation)
{
    PASS_UNLESS_GREEN(flock, fd, operation);
    long r = sys_2(SYS_flock, fd, operation | LOCK_NB);
    if (r == -EWOULDBLOCK && !(operation & LOCK_NB))
        r = blocking_syscall(false, SYS_flock, fd, operation, 0, 0, 0, 0);
    else if (r == -EWOULDBLOCK)
        green_futile();
    return (int)iotry_result(r);
}

/* libc's lockf is fcntl with a lock from the file's position on. */
int green_lockf(int fd, int cmd, off_t len)
{
    PASS_UNLESS_GREEN(lockf, fd, cmd, len);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = len};
    return cmd == F_LOCK ? filelock_fcntl(fd, F_SETLKW, (long)&lock) : real.lockf(fd, cmd, len);
}
