/* libev's calls to libc: see evglue.h. */
#include "evglue.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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
ssize_t evglue_read(int fd, void *buffer, size_t size);
ssize_t evglue_write(int fd, const void *buffer, size_t size);
char *evglue_getenv(const char *name);
int evglue_fprintf_chk(void *stream, int flag, const char *format, ...);
void evglue_perror(const char *text);
void evglue_assert_fail(const char *expression, const char *file, unsigned line,
                        const char *function) __attribute__((noreturn));

/* libev hands it to fprintf only. */
void *evglue_stderr;

static int opened(int fd, enum evglue_kind kind)
{
    return fd < 0 ? fd : evglue_opened(fd, kind);
}

int evglue_epoll_create1(int flags)
{
    return opened(real.epoll_create1(flags), EVGLUE_EPOLL);
}

int evglue_epoll_create(int size)
{
    return opened(real.epoll_create(size), EVGLUE_EPOLL);
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
    return opened(real.eventfd(count, flags), EVGLUE_WAKE);
}

int evglue_pipe(int fds[2])
{
    int result = real.pipe2(fds, O_CLOEXEC | O_NONBLOCK);
    if (result == 0) {
        fds[0] = opened(fds[0], EVGLUE_WAKE);
        fds[1] = opened(fds[1], EVGLUE_WAKE);
    }
    return result;
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

/* LIBEV_FLAGS is meant for programs that know of libev. */
char *evglue_getenv(const char *name)
{
    (void)name;
    return NULL;
}

static void say(const char *text)
{
    sys_3(SYS_write, 2, text, strlen(text));
}

int evglue_fprintf_chk(void *stream, int flag, const char *format, ...)
{
    (void)stream;
    (void)flag;
    say("libgreen: ");
    say(format);
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
