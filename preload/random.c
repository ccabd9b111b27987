/* Random bytes: the kernel has them at once, but for the first moments after it was started. */
#include <errno.h>
#include <sys/random.h>

#include "blocking.h"
#include "cancel.h"
#include "iotry.h"
#include "patch.h"

static long random_bytes(void *buf, size_t len, unsigned flags)
{
    long r = sys_3(SYS_getrandom, buf, len, flags | GRND_NONBLOCK);
    if (r == -EAGAIN && !(flags & GRND_NONBLOCK))
        r = blocking_syscall(true, SYS_getrandom, (long)buf, (long)len, flags, 0, 0, 0);
    return r;
}

ssize_t green_getrandom(void *buf, size_t len, unsigned flags)
{
    PASS_UNLESS_GREEN(getrandom, buf, len, flags);
    cancel_act();
    return iotry_result(random_bytes(buf, len, flags));
}

int green_getentropy(void *buf, size_t len)
{
    PASS_UNLESS_GREEN(getentropy, buf, len);
    char *at = buf;
    if (len > 256)
        return (int)iotry_result(-EIO); /* getentropy(3) */
    while (len > 0) {
        long r = random_bytes(at, len, 0);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            return (int)iotry_result(r ? r : -EIO);
        at += r;
        len -= (size_t)r;
    }
    return 0;
}
