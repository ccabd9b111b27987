/* FILE streams on green threads.
 *
 * libc reads and writes through slots that are ours now (coro/libc_stdio.c), so a stream on a socket,
 * a pipe or a terminal parks like read() and write(). Whoever parks there holds the stream's lock:
 * every function that takes it takes it here first, by ftrylockfile() and park, so that no other
 * green thread blocks inside libc. Lines of two threads never mix, as natively, because the lock is
 * libc's own.
 *
 * libc also locks streams from inside (exit, fflush(NULL), the lock-free fclose of the last
 * reference), where nobody tells us of the unlock; a waiter therefore looks again now and then.
 */
#include "preload/stream.h"

#include <errno.h>
#include <unistd.h>

#include "coro/libc_stdio.h"
#include "hub/hub.h"

enum { LOOK_AGAIN_NS = 20000000 };

static bool lock_ready(void *file)
{
    return real.ftrylockfile(file) == 0;
}

void stream_lock(FILE *f)
{
    if (__builtin_expect(real.ftrylockfile(f) == 0, 1))
        return;
    while (wait_on(WAIT_FILE, f, WAIT_ANY_BITS, lock_ready, f, deadline_after(LOOK_AGAIN_NS), 0) !=
           WAIT_NOT_NEEDED)
        if (real.ftrylockfile(f) == 0)
            return;
}

void stream_unlock(FILE **f)
{
    if (!*f)
        return;
    int e = errno;
    real.funlockfile(*f);
    wait_fence();
    wake(WAIT_FILE, *f, 1, WAIT_ANY_BITS);
    errno = e;
}

void green_flockfile(FILE *f)
{
    if (patch_passes(PATCH_flockfile))
        real.flockfile(f);
    else
        stream_lock(f);
}

void green_funlockfile(FILE *f)
{
    (void)patch_passes(PATCH_funlockfile);
    stream_unlock(&f);
}

/* ---- The ends of streams ---- */

/* The stream is gone when libc returns: the lock is given up before the call, and taken again inside
 * by libc, of whom nobody else may be a user now. */
int green_fclose(FILE *f)
{
    if (!patch_passes(PATCH_fclose)) {
        FILE *locked = f;
        stream_lock(f);
        real.fflush(f); /* parks here, under a lock that the others wait for politely */
        stream_unlock(&locked);
    }
    return real.fclose(f);
}

FILE *green_freopen(const char *path, const char *mode, FILE *f)
{
    STREAM_LOCKED(freopen, f);
    return real.freopen(path, mode, f);
}

/* ---- What libc calls for the descriptor of a stream ---- */

static bool on_green(void)
{
    return hub_attach();
}

static ssize_t hook_read(FILE *f, void *buf, ssize_t n)
{
    if (!on_green())
        return libc_stdio_read(f, buf, n);
    return green_read(f->_fileno, buf, (size_t)n);
}

static ssize_t hook_write(FILE *f, const void *buf, ssize_t n)
{
    ssize_t left = n;
    bool green = on_green();
    while (left > 0) {
        const char *from = (const char *)buf + (n - left);
        ssize_t wrote = green ? green_write(f->_fileno, from, (size_t)left)
                              : real.write(f->_fileno, from, (size_t)left);
        if (wrote < 0)
            break;
        left -= wrote;
    }
    libc_stdio_wrote(f, n - left, left > 0);
    return n - left;
}

static int hook_close(FILE *f)
{
    if (fd_is_private(f->_fileno)) {
        errno = EBADF;
        return -1;
    }
    fd_closing(f->_fileno);
    return libc_stdio_close(f);
}

const char *stream_start(void)
{
    static const struct libc_stdio_hooks hooks = {hook_read, hook_write, hook_close};
    return libc_stdio_hook(&hooks);
}
