/* Sockets are made, and told what to do; receiving, sending, accepting and connecting have files of
 * their own.
 */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fd.h"
#include "patch.h"

/* What socket(2)'s type says about the descriptor. */
static int socket_flags(int type)
{
    enum { TYPE = 0xf };
    return FD_OURS | ((type & TYPE) == SOCK_STREAM ? FD_STREAM : 0) | fd_nonblock(type);
}

int green_socket(int domain, int type, int protocol)
{
    (void)patch_passes(PATCH_socket);
    return fd_made(real.socket(domain, type, protocol), FD_SOCKET, socket_flags(type));
}

int green_socketpair(int domain, int type, int protocol, int fds[2])
{
    (void)patch_passes(PATCH_socketpair);
    int r = real.socketpair(domain, type, protocol, fds);
    if (r == 0) {
        fd_made(fds[0], FD_SOCKET, socket_flags(type));
        fd_made(fds[1], FD_SOCKET, socket_flags(type));
    }
    return r;
}

/* The options of hub.h that a socket option stands for. */
static unsigned option_noted(int level, int option)
{
    if (level != SOL_SOCKET)
        return 0;
    switch (option) {
    case SO_RCVTIMEO: /* 20; the form with 64-bit time is the same on 64-bit machines */
    case SO_RCVTIMEO_NEW:
        return FD_RCVTIMEO;
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
        return FD_SNDTIMEO;
    case SO_RCVLOWAT:
        return FD_RCVLOWAT;
    case SO_LINGER:
        return FD_LINGER;
    default:
        return 0;
    }
}

/* The kernel takes a negative time-out for one that is always over, and reports it as none. */
static void timeout_noted(struct fd_entry *e, unsigned noted, const struct timeval *value)
{
    unsigned now = noted == FD_RCVTIMEO ? FD_RCVNOW : noted == FD_SNDTIMEO ? FD_SNDNOW : 0;
    if (value->tv_sec < 0)
        atomic_fetch_or_explicit(&e->options, (uint8_t)now, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&e->options, (uint8_t)~now, memory_order_relaxed);
}

/* An option is noted before it is set, so that nobody waits past it, and stays noted. */
int green_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    (void)patch_passes(PATCH_setsockopt);
    unsigned noted = option_noted(level, option);
    struct fd_entry *e = noted ? fd_entry(fd) : NULL;
    if (e)
        atomic_fetch_or_explicit(&e->options, (uint8_t)noted, memory_order_relaxed);
    int r = real.setsockopt(fd, level, option, value, len);
    if (e && r == 0 && noted & (FD_RCVTIMEO | FD_SNDTIMEO))
        timeout_noted(e, noted, value);
    return r;
}

/* The kernel wakes whoever sleeps on the socket, a writer of AF_UNIX too, for whom it is not ready.
 */
int green_shutdown(int fd, int how)
{
    (void)patch_passes(PATCH_shutdown);
    int r = real.shutdown(fd, how);
    io_wake(fd);
    return r;
}
