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
#include <stdio_ext.h>
#include <unistd.h>

#include "coro/libc_stdio.h"
#include "hub/hub.h"
#include "preload/blocking.h"

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

/* Where libc writes what is left it holds the lock itself, and the stream is gone when it returns:
 * so the writing, which may park, is done before, under a lock that others wait for politely. */
int green_fclose(FILE *f)
{
    int error = 0;
    if (!patch_passes(PATCH_fclose)) {
        FILE *locked = f;
        stream_lock(f);
        if (__fpending(f) && real.fflush(f))
            error = errno;
        stream_unlock(&locked);
    }
    int result = real.fclose(f);
    if (error) {
        errno = error;
        return EOF;
    }
    return result;
}

/* libc walks the list of streams and takes each one's lock inside. */
static long flush_all(void *unused)
{
    (void)unused;
    return real.fflush(NULL);
}

int green_fflush(FILE *f)
{
    if (!f) {
        PASS_UNLESS_GREEN(fflush, f);
        return (int)blocking_call(flush_all, NULL);
    }
    STREAM_LOCKED(fflush, f);
    return real.fflush(f);
}

static long close_all(void *unused)
{
    (void)unused;
    return real.fcloseall();
}

int green_fcloseall(void)
{
    PASS_UNLESS_GREEN(fcloseall);
    return (int)blocking_call(close_all, NULL);
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

/* Where libc's own read or write of f would be no cancellation point, ours is none either. */
static int uncancelled_begin(const FILE *f)
{
    int state = PTHREAD_CANCEL_DISABLE;
    if (__builtin_expect(libc_stdio_uncancelled(f), 0))
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}

static void uncancelled_end(int state)
{
    if (__builtin_expect(state == PTHREAD_CANCEL_ENABLE, 0))
        pthread_setcancelstate(state, NULL);
}

static ssize_t hook_read(FILE *f, void *buf, ssize_t n)
{
    if (!on_green())
        return libc_stdio_read(f, buf, n);
    int state = uncancelled_begin(f);
    ssize_t got = green_read(f->_fileno, buf, (size_t)n);
    uncancelled_end(state);
    return got;
}

static ssize_t hook_write(FILE *f, const void *buf, ssize_t n)
{
    int state = uncancelled_begin(f);
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
    uncancelled_end(state);
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
