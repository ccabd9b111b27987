/* POSIX message queues. A time-out that is over makes a call that does not wait, whatever the
 * queue's mode, and the queue's descriptor can be polled.
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>

#include "blocking.h"
#include "fd.h"
#include "iotry.h"
#include "patch.h"

struct mq_call {
    struct iotry io;
    long number;
    long buf, len, priority;
    const struct timespec *timeout;
};

/* The kernel's EAGAIN is the queue's O_NONBLOCK, and final. */
static long mq_attempt(struct iotry *t, int fd, bool now)
{
    struct mq_call *c = (struct mq_call *)t;
    static const struct timespec over = {0, 0};
    if (!now)
        return blocking_syscall(true, c->number, fd, c->buf, c->len, c->priority, (long)c->timeout,
                                0);
    long r = sys_5(c->number, fd, c->buf, c->len, c->priority, &over);
    if (r == -EAGAIN)
        t->flags |= IOTRY_DONTWAIT;
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

/* `priority` is the value to send, or the address to receive it. */
static long mq_transfer(mqd_t queue, int events, long number, long buf, size_t len, long priority,
                        const struct timespec *timeout)
{
    struct fd_entry *e = fd_entry((int)queue);
    if (!e || (timeout && !timespec_valid(timeout))) /* the kernel names the error */
        return blocking_syscall(true, number, queue, buf, (long)len, priority, (long)timeout, 0);
    struct mq_call c = {
        .io = {.attempt = mq_attempt,
               .fd = (int)queue,
               .events = (uint8_t)events,
               .flags = IOTRY_BLOCKS,
               .timeout = -ETIMEDOUT,
               .deadline = timeout ? deadline_from(CLOCK_REALTIME, timeout) : DEADLINE_NEVER},
        .number = number,
        .buf = buf,
        .len = (long)len,
        .priority = priority,
        .timeout = timeout,
    };
    return iotry(&c.io, e);
}

int green_mq_timedsend(mqd_t queue, const char *buf, size_t len, unsigned priority,
                       const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(mq_timedsend, queue, buf, len, priority, timeout);
    return (int)iotry_result(
        mq_transfer(queue, IO_WRITE, SYS_mq_timedsend, (long)buf, len, priority, timeout));
}

int green_mq_send(mqd_t queue, const char *buf, size_t len, unsigned priority)
{
    PASS_UNLESS_GREEN(mq_send, queue, buf, len, priority);
    return (int)iotry_result(
        mq_transfer(queue, IO_WRITE, SYS_mq_timedsend, (long)buf, len, priority, NULL));
}

ssize_t green_mq_timedreceive(mqd_t queue, char *buf, size_t len, unsigned *priority,
                              const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(mq_timedreceive, queue, buf, len, priority, timeout);
    return iotry_result(
        mq_transfer(queue, IO_READ, SYS_mq_timedreceive, (long)buf, len, (long)priority, timeout));
}

ssize_t green_mq_receive(mqd_t queue, char *buf, size_t len, unsigned *priority)
{
    PASS_UNLESS_GREEN(mq_receive, queue, buf, len, priority);
    return iotry_result(
        mq_transfer(queue, IO_READ, SYS_mq_timedreceive, (long)buf, len, (long)priority, NULL));
}

/* A queue is a descriptor. */
mqd_t green_mq_open(const char *name, int flags, mode_t mode, struct mq_attr *attr)
{
    (void)patch_passes(PATCH_mq_open);
    return fd_made(real.mq_open(name, flags, mode, attr), FD_OTHER, 0);
}

mqd_t green___mq_open_2(const char *name, int flags)
{
    (void)patch_passes(PATCH___mq_open_2);
    return fd_made(real.__mq_open_2(name, flags), FD_OTHER, 0);
}

int green_mq_close(mqd_t queue)
{
    (void)patch_passes(PATCH_mq_close);
    if (fd_is_private((int)queue)) {
        errno = EBADF;
        return -1;
    }
    fd_closing((int)queue);
    return real.mq_close(queue);
}
