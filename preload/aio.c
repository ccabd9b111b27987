/* Asynchronous I/O: libc's own threads do it, and are native. Waiting for them is a call of libc's
 * that blocks.
 */
#include <aio.h>

#include "blocking.h"
#include "cancel.h"
#include "patch.h"

struct aio_call {
    const struct aiocb *const *list;
    int count;
    const struct timespec *timeout;
};

static long aio_wait(void *arg)
{
    const struct aio_call *c = arg;
    return real.aio_suspend(c->list, c->count, c->timeout);
}

int green_aio_suspend(const struct aiocb *const list[], int count, const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(aio_suspend, list, count, timeout);
    struct aio_call c = {list, count, timeout};
    cancel_act();
    return (int)blocking_call(aio_wait, &c);
}

struct lio_call {
    struct aiocb *const *list;
    int count;
    struct sigevent *event;
};

static long lio_wait(void *arg)
{
    const struct lio_call *c = arg;
    return real.lio_listio(LIO_WAIT, c->list, c->count, c->event);
}

int green_lio_listio(int mode, struct aiocb *const list[], int count, struct sigevent *event)
{
    PASS_UNLESS_GREEN(lio_listio, mode, list, count, event);
    struct lio_call c = {list, count, event};
    return mode == LIO_WAIT ? (int)blocking_call(lio_wait, &c)
                            : real.lio_listio(mode, list, count, event);
}
