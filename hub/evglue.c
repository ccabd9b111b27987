/* libev's calls to libc: see evglue.h. */
#include "evglue.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "coro/sys.h"
#include "gen/real.h"

/* The names that objcopy gives to libev's references; nothing else calls these. */
int evglue_epoll_create1(int flags);
int evglue_epoll_create(int size);
int evglue_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int evglue_eventfd(unsigned count, int flags);
int evglue_pipe(int fds[2]);
int evglue_close(int fd);
void *evglue_memset(void *p, int c, size_t size);
ssize_t evglue_read(int fd, void *buffer, size_t size);
ssize_t evglue_write(int fd, const void *buffer, size_t size);
char *evglue_getenv(const char *name);
int evglue_fprintf_chk(void *stream, int flag, const char *format, ...);
void evglue_perror(const char *text);
void evglue_assert_fail(const char *expression, const char *file, unsigned line,
                        const char *function) __attribute__((noreturn));

/* libev hands it to fprintf only. */
void *evglue_stderr;

static void say(const char *text)
{
    sys_3(SYS_write, 2, text, strlen(text));
}

int evglue_epoll_create1(int flags)
{
    (void)flags; /* EPOLL_CLOEXEC, as all of ours */
    return evglue_open(EVGLUE_EPOLL);
}

int evglue_epoll_create(int size)
{
    (void)size;
    return evglue_open(EVGLUE_EPOLL);
}

/* libev asserts that no watcher has a descriptor that epoll refuses, but the program can close one,
 * or nest epoll sets to the limit, while a green thread waits. Any other error makes libev stop the
 * descriptor's watchers and report EV_ERROR to each, which is a failed wait. EPERM (a plain file)
 * stays: libev then treats the descriptor as always ready. */
int evglue_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    int result = real.epoll_ctl(epfd, op, fd, event);
    if (result < 0 && (errno == EBADF || errno == ELOOP || errno == EINVAL))
        errno = ENOMEM;
    return result;
}

int evglue_eventfd(unsigned count, int flags)
{
    (void)count; /* 0 */
    (void)flags;
    return evglue_open(EVGLUE_WAKE);
}

/* What libev tries where there is no eventfd, again and again until it works. It does not come to
 * that: hub_loop_open() sees to the eventfd first. */
int evglue_pipe(int fds[2])
{
    (void)fds;
    say("libgreen: no descriptor to wake the hub by\n");
    abort();
}

int evglue_close(int fd)
{
    evglue_closed(fd);
    return real.close(fd);
}

/* ev_async_send() runs on green threads: libc's write() would be a cancellation point of theirs, in
 * the middle of the runtime. */
static ssize_t outcome(long result)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

ssize_t evglue_read(int fd, void *buffer, size_t size)
{
    return outcome(sys_3(SYS_read, fd, buffer, size));
}

ssize_t evglue_write(int fd, const void *buffer, size_t size)
{
    return outcome(sys_3(SYS_write, fd, buffer, size));
}

/* libev zeroes an array with an entry for each number up to its highest descriptor. Ours are the
 * highest there are, and few in between are ever used: the kernel's zero pages take no memory. */
void *evglue_memset(void *p, int c, size_t size)
{
    enum { PAGE = 4096, WORTH_A_CALL = 16 * PAGE };
    char *from = (char *)(((uintptr_t)p + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    char *to = (char *)(((uintptr_t)p + size) & ~(uintptr_t)(PAGE - 1));
    if (c || size < WORTH_A_CALL || sys_3(SYS_madvise, from, to - from, MADV_DONTNEED))
        return memset(p, c, size);
    memset(p, 0, (size_t)(from - (char *)p));
    memset(to, 0, (size_t)((char *)p + size - to));
    return p;
}

/* LIBEV_FLAGS is meant for programs that know of libev. */
char *evglue_getenv(const char *name)
{
    (void)name;
    return NULL;
}

int evglue_fprintf_chk(void *stream, int flag, const char *format, ...)
{
    (void)stream;
    (void)flag;
    (void)format; /* "cannot allocate %ld bytes, aborting." is all that libev ever says */
    say("libgreen: no memory is left for the hub\nlibgreen: raise RLIMIT_AS, or what limits the "
        "container's memory\n");
    return 0;
}

void evglue_perror(const char *text)
{
    const char *name = strerrorname_np(errno);
    say("libgreen: ");
    say(text);
    say(": ");
    say(name ? name : "unknown error");
    say("\n");
}

void evglue_assert_fail(const char *expression, const char *file, unsigned line,
                        const char *function)
{
    (void)line;
    say("libgreen: ");
    say(file);
    say(": ");
    say(function);
    say(": ");
    say(expression);
    say("\n");
    abort();
}
