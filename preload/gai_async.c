/* getaddrinfo_a and its kin: libc resolves on native threads of its own, which block nobody. Only
 * who waits for them must not block the others.
 */
#include <netdb.h>

#include "blocking.h"
#include "config.h"
#include "patch.h"

struct list_call {
    int mode;
    struct gaicb **list;
    int count;
    struct sigevent *notify;
};

static long list_libc(void *arg)
{
    struct list_call *c = arg;
    return real.getaddrinfo_a(c->mode, c->list, c->count, c->notify);
}

int green_getaddrinfo_a(int mode, struct gaicb **list, int count, struct sigevent *notify)
{
    PASS_UNLESS_GREEN(getaddrinfo_a, mode, list, count, notify);
    struct list_call call = {mode, list, count, notify};
    if (mode != GAI_WAIT || config.dns == GREEN_DNS_NATIVE)
        return (int)list_libc(&call);
    return (int)blocking_call(list_libc, &call);
}

struct suspend_call {
    const struct gaicb *const *list;
    int count;
    const struct timespec *timeout;
};

static long suspend_libc(void *arg)
{
    struct suspend_call *c = arg;
    return real.gai_suspend(c->list, c->count, c->timeout);
}

int green_gai_suspend(const struct gaicb *const *list, int count, const struct timespec *timeout)
{
    PASS_UNLESS_GREEN(gai_suspend, list, count, timeout);
    struct suspend_call call = {list, count, timeout};
    if (config.dns == GREEN_DNS_NATIVE)
        return (int)suspend_libc(&call);
    return (int)blocking_call(suspend_libc, &call);
}
