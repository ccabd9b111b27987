/* open and its forms.
 *
 * Opening a FIFO waits for the other side, and some devices wait for theirs. Neither can be polled
 * for, so a path that leads to one is opened with the hub handed off. What a plain file's opening
 * costs is a disk's business (--file-io).
 *
 * The forms are variadic in libc's headers; a mode that the caller left out is not used.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "blocking.h"
#include "cancel.h"
#include "config.h"
#include "fd.h"
#include "iotry.h"
#include "patch.h"

/* Is the file one whose kind need not be asked for? */
static bool never_waits(int flags)
{
    enum { CREATES = O_CREAT | O_EXCL };
    return flags & (O_NONBLOCK | O_PATH | O_DIRECTORY) || (flags & CREATES) == CREATES;
}

static long open_kind(int dir, const char *path, int flags, mode_t mode, mode_t kind)
{
    bool both_sides = S_ISFIFO(kind) && (flags & O_ACCMODE) == O_RDWR;
    if ((S_ISFIFO(kind) && !both_sides) || S_ISCHR(kind))
        return blocking_syscall(true, SYS_openat, dir, (long)path, flags, mode, 0, 0);
    if (S_ISREG(kind) && config.file_io == GREEN_FILE_OFFLOAD)
        return blocking_offload(SYS_openat, dir, (long)path, flags, mode, 0, 0);
    return sys_4(SYS_openat, dir, path, flags, mode);
}

/* What the books say about a file of this kind; the rest is learned when it is used. */
static int open_made(int fd, int flags, mode_t kind)
{
    if (S_ISREG(kind))
        return fd_made(fd, FD_FILE, 0);
    if (S_ISFIFO(kind))
        return fd_made(fd, FD_PIPE, FD_STREAM | FD_OURS | fd_nonblock(flags));
    return fd_made(fd, FD_UNKNOWN, 0);
}

static int open_green(int dir, const char *path, int flags, mode_t mode)
{
    struct stat st;
    mode_t kind = 0;
    cancel_act();
    if (!never_waits(flags) &&
        !sys_4(SYS_newfstatat, dir, path, &st, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0))
        kind = st.st_mode;
    long fd = open_kind(dir, path, flags, mode, kind);
    return open_made((int)iotry_result(fd), flags, kind);
}

int green_open(const char *path, int flags, mode_t mode)
{
    bool native = patch_passes(PATCH_open);
    return native ? fd_made(real.open(path, flags, mode), FD_UNKNOWN, 0)
                  : open_green(AT_FDCWD, path, flags, mode);
}

int green_openat(int dir, const char *path, int flags, mode_t mode)
{
    bool native = patch_passes(PATCH_openat);
    return native ? fd_made(real.openat(dir, path, flags, mode), FD_UNKNOWN, 0)
                  : open_green(dir, path, flags, mode);
}

int green_creat(const char *path, mode_t mode)
{
    return green_open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* The fortified forms end the process when a mode would be needed. */
static bool needs_mode(int flags)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

int green___open_2(const char *path, int flags)
{
    return needs_mode(flags) ? real.__open_2(path, flags) : green_open(path, flags, 0);
}

int green___openat_2(int dir, const char *path, int flags)
{
    return needs_mode(flags) ? real.__openat_2(dir, path, flags)
                             : green_openat(dir, path, flags, 0);
}
