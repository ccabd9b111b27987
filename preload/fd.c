/* Descriptor numbers come and go: dup, close and what makes descriptors. */
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blocking.h"
#include "coro/sys.h"
#include "iotry.h"
#include "patch.h"

int fd_nonblock(int flags)
{
    return flags & O_NONBLOCK ? FD_NONBLOCK : 0;
}

int fd_made(int fd, enum fd_kind kind, int flags)
{
    if (fd >= 0)
        fd_opened(fd, kind, flags);
    return fd;
}

int fd_copied(int old, int fd)
{
    struct fd_entry *from = fd_entry(old);
    bool vforked = atomic_load_explicit(&green_tls.own, memory_order_relaxed) == OWN_VFORK;
    if (fd < 0 || !from || fd == old || vforked)
        return fd;
    unsigned flags = iotry_flags(from) & ~(unsigned)(FD_DRAINED | FD_OURS | FD_PRIVATE);
    fd_shared(old);
    fd_opened(fd, iotry_kind(from), (int)flags);
    struct fd_entry *to = fd_entry(fd);
    if (to)
        atomic_store_explicit(&to->options, atomic_load(&from->options), memory_order_relaxed);
    return fd;
}

/* ---- Passing on ---- */

static void each_passed(const struct msghdr *msg, void (*f)(int fd))
{
    struct msghdr *m = (struct msghdr *)(uintptr_t)msg;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            f(fd);
        }
    }
}

static void received(int fd)
{
    fd_opened(fd, FD_UNKNOWN, 0);
}

void fd_received(struct msghdr *msg)
{
    each_passed(msg, received);
}

void fd_sent(const struct msghdr *msg)
{
    each_passed(msg, fd_shared);
}

/* ---- Closing ---- */

/* Zero seconds are for a close with a reset, which waits for nothing. */
static bool close_waits(int fd)
{
    struct linger l = {0};
    socklen_t len = sizeof l;
    return real.getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len) == 0 && l.l_onoff && l.l_linger != 0;
}

/* A socket with SO_LINGER waits in close for what is still to be sent. */
static int close_lingering(int fd)
{
    return (int)iotry_result(blocking_syscall(false, SYS_close, fd, 0, 0, 0, 0, 0));
}

int green_close(int fd)
{
    bool native = patch_passes(PATCH_close);
    if (__builtin_expect(fd_is_private(fd), 0)) {
        errno = EBADF;
        return -1;
    }
    struct fd_entry *e = native ? NULL : fd_entry(fd);
    bool lingers = e && atomic_load_explicit(&e->options, memory_order_relaxed) & FD_LINGER;
    lingers = __builtin_expect(lingers, 0) && close_waits(fd);
    fd_closing(fd);
    return lingers ? close_lingering(fd) : real.close(fd);
}

/* The kernel's call on each run of numbers between two of libgreen's own. */
static int range_close(unsigned first, unsigned last, int flags)
{
    int r = 0;
    while (first <= last && r == 0) {
        int ours = first <= INT32_MAX ? fd_private_next((int)first) : -1;
        if (ours < 0 || (unsigned)ours > last)
            return real.close_range(first, last, flags);
        if ((unsigned)ours > first)
            r = real.close_range(first, (unsigned)ours - 1, flags);
        first = (unsigned)ours + 1;
    }
    return r;
}

/* For a kernel without close_range(2), before Linux 5.9. */
static void each_close(unsigned first)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    for (unsigned fd = first; fd < limit.rlim_max && fd < 1u << 20; fd++)
        if (!fd_is_private((int)fd))
            real.close((int)fd);
}

int green_close_range(unsigned first, unsigned last, int flags)
{
    bool native = patch_passes(PATCH_close_range);
    if (first > last || (unsigned)flags & ~(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE))
        return real.close_range(first, last, flags);
    if (!native) /* green threads share one table, whatever OS thread they are on */
        flags &= (int)CLOSE_RANGE_CLOEXEC;
    if (!((unsigned)flags & CLOSE_RANGE_CLOEXEC))
        fd_closing_range(first, last);
    return range_close(first, last, flags);
}

void green_closefrom(int first)
{
    (void)patch_passes(PATCH_closefrom);
    unsigned from = first < 0 ? 0 : (unsigned)first;
    int error = errno;
    fd_closing_range(from, UINT32_MAX);
    if (range_close(from, UINT32_MAX, 0))
        each_close(from);
    errno = error;
}

/* ---- More numbers ---- */

int green_dup(int fd)
{
    (void)patch_passes(PATCH_dup);
    return fd_copied(fd, real.dup(fd));
}

/* Is the number one that a dup2 must not touch? The answer for a number beyond the limit. */
static bool dup_refused(int fd, int to)
{
    if (!fd_is_private(to) && !fd_is_private(fd))
        return false;
    errno = EBADF;
    return true;
}

/* dup2 closes the number on its way, unless it fails: then what had been known of it is lost, and
 * is learned anew. */
int green_dup2(int fd, int to)
{
    (void)patch_passes(PATCH_dup2);
    if (dup_refused(fd, to))
        return -1;
    if (fd != to)
        fd_closing(to);
    return fd_copied(fd, real.dup2(fd, to));
}

int green_dup3(int fd, int to, int flags)
{
    (void)patch_passes(PATCH_dup3);
    if (dup_refused(fd, to))
        return -1;
    if (fd != to)
        fd_closing(to);
    return fd_copied(fd, real.dup3(fd, to, flags));
}

/* ---- New descriptions ---- */

static void pipe_made(const int fds[2], int flags)
{
    enum { PIPE = FD_STREAM | FD_OURS };
    fd_made(fds[0], FD_PIPE, PIPE | fd_nonblock(flags));
    fd_made(fds[1], FD_PIPE, PIPE | fd_nonblock(flags));
}

int green_pipe(int fds[2])
{
    (void)patch_passes(PATCH_pipe);
    int r = real.pipe(fds);
    if (r == 0)
        pipe_made(fds, 0);
    return r;
}

int green_pipe2(int fds[2], int flags)
{
    (void)patch_passes(PATCH_pipe2);
    int r = real.pipe2(fds, flags);
    if (r == 0)
        pipe_made(fds, flags);
    return r;
}

int green_eventfd(unsigned count, int flags)
{
    (void)patch_passes(PATCH_eventfd);
    return fd_made(real.eventfd(count, flags), FD_EVENT,
                   FD_OURS | FD_WRITE_READY | fd_nonblock(flags));
}

int green_timerfd_create(clockid_t clock, int flags)
{
    (void)patch_passes(PATCH_timerfd_create);
    return fd_made(real.timerfd_create(clock, flags), FD_EVENT, FD_OURS | fd_nonblock(flags));
}

int green_inotify_init(void)
{
    (void)patch_passes(PATCH_inotify_init);
    return fd_made(real.inotify_init(), FD_OTHER, FD_OURS);
}

int green_inotify_init1(int flags)
{
    (void)patch_passes(PATCH_inotify_init1);
    return fd_made(real.inotify_init1(flags), FD_OTHER, FD_OURS | fd_nonblock(flags));
}

int green_fanotify_init(unsigned flags, unsigned event_flags)
{
    (void)patch_passes(PATCH_fanotify_init);
    return fd_made(real.fanotify_init(flags, event_flags), FD_UNKNOWN, 0);
}

int green_memfd_create(const char *name, unsigned flags)
{
    (void)patch_passes(PATCH_memfd_create);
    return fd_made(real.memfd_create(name, flags), FD_FILE, 0);
}

int green_epoll_create(int size)
{
    (void)patch_passes(PATCH_epoll_create);
    return fd_made(real.epoll_create(size), FD_EPOLL, FD_OURS);
}

int green_epoll_create1(int flags)
{
    (void)patch_passes(PATCH_epoll_create1);
    return fd_made(real.epoll_create1(flags), FD_EPOLL, FD_OURS);
}
