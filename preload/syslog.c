/* syslog: libc holds a lock of its own while it connects, sends and writes, and where that goes to a
 * descriptor of the program's the caller parks with the lock held. So no second green thread gets
 * that far: they wait for one another here.
 */
#include <errno.h>
#include <stdarg.h>
#include <syslog.h>

#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/syslog.h"

static _Atomic bool log_held;

static bool log_take(void *unused)
{
    (void)unused;
    return !atomic_exchange(&log_held, true);
}

static void log_lock(void)
{
    while (wait_on(WAIT_MUTEX, &log_held, WAIT_ANY_BITS, log_take, NULL, DEADLINE_NEVER, 0) !=
           WAIT_NOT_NEEDED)
        ;
}

static void log_unlock(bool *locked)
{
    if (!*locked)
        return;
    int e = errno;
    atomic_store(&log_held, false);
    wake(WAIT_MUTEX, &log_held, 1, WAIT_ANY_BITS);
    errno = e;
}

/* The lock for the rest of the block, on a green thread. */
#define LOG_LOCKED(name)                                              \
    bool locked_ __attribute__((cleanup(log_unlock))) = false;        \
    if (!patch_passes(PATCH_##name)) {                                \
        log_lock();                                                   \
        locked_ = true;                                               \
    }

void syslog_fork(void)
{
    atomic_store(&log_held, false);
}

void green_vsyslog(int priority, const char *format, va_list ap)
{
    LOG_LOCKED(vsyslog);
    real.vsyslog(priority, format, ap);
}

void green___vsyslog_chk(int priority, int flag, const char *format, va_list ap)
{
    LOG_LOCKED(__vsyslog_chk);
    real.__vsyslog_chk(priority, flag, format, ap);
}

void green_syslog(int priority, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    green_vsyslog(priority, format, ap);
    va_end(ap);
}

void green___syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    green___vsyslog_chk(priority, flag, format, ap);
    va_end(ap);
}

void green_openlog(const char *name, int options, int facility)
{
    LOG_LOCKED(openlog);
    real.openlog(name, options, facility);
}

void green_closelog(void)
{
    LOG_LOCKED(closelog);
    real.closelog();
}
