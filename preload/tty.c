/* Terminals: what waits for their output, and what makes them. */
#include <pty.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <utmp.h>

#include "blocking.h"
#include "cancel.h"
#include "fd.h"
#include "iotry.h"
#include "patch.h"

int green_tcdrain(int fd)
{
    PASS_UNLESS_GREEN(tcdrain, fd);
    cancel_act();
    return (int)iotry_result(blocking_syscall(true, SYS_ioctl, fd, TCSBRK, 1, 0, 0, 0));
}

struct tty_break {
    int fd, duration;
};

static long tty_send_break(void *arg)
{
    const struct tty_break *b = arg;
    return real.tcsendbreak(b->fd, b->duration);
}

int green_tcsendbreak(int fd, int duration)
{
    PASS_UNLESS_GREEN(tcsendbreak, fd, duration);
    struct tty_break b = {fd, duration};
    return (int)blocking_call(tty_send_break, &b);
}

int green_posix_openpt(int flags)
{
    (void)patch_passes(PATCH_posix_openpt);
    return fd_made(real.posix_openpt(flags), FD_UNKNOWN, 0);
}

int green_getpt(void)
{
    (void)patch_passes(PATCH_getpt);
    return fd_made(real.getpt(), FD_UNKNOWN, 0);
}

int green_openpty(int *master, int *slave, char *name, const struct termios *mode,
                  const struct winsize *size)
{
    (void)patch_passes(PATCH_openpty);
    int r = real.openpty(master, slave, name, mode, size);
    if (r == 0) {
        fd_made(*master, FD_UNKNOWN, 0);
        fd_made(*slave, FD_UNKNOWN, 0);
    }
    return r;
}

/* The terminal becomes descriptors 0 to 2, inside libc. */
int green_login_tty(int fd)
{
    (void)patch_passes(PATCH_login_tty);
    for (int i = 0; i <= 2; i++)
        fd_closing(i);
    if (fd > 2)
        fd_closing(fd);
    return real.login_tty(fd);
}
