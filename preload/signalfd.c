/* signalfd: a signal for one green thread is pending with it and not with the kernel, so a read by
 * that thread looks there first. The kernel answers for signals of the process.
 */
#include "preload/signalfd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>

#include "coro/lock.h"
#include "hub/hub.h"
#include "preload/cancel.h"
#include "preload/patch.h"
#include "preload/signal.h"

enum { TABLE = 64 };

/* The masks of open signalfds; table_lock. One more than fit is the kernel's alone. */
static struct lock table_lock;
static struct {
    int fd;
    uint32_t generation; /* of the number: a slot of a closed one is free */
    uint64_t mask;
} table[TABLE];

static uint32_t generation_of(int fd)
{
    struct fd_entry *e = fd_entry(fd);
    return e ? atomic_load_explicit(&e->generation, memory_order_relaxed) : 0;
}

static void mask_set(int fd, uint64_t mask)
{
    int slot = -1;
    lock_acquire(&table_lock);
    for (int i = 0; i < TABLE; i++) {
        bool stale = !table[i].mask || table[i].generation != generation_of(table[i].fd);
        if (stale ? slot < 0 : table[i].fd == fd)
            slot = i;
    }
    if (slot >= 0) {
        table[slot].fd = fd;
        table[slot].generation = generation_of(fd);
        table[slot].mask = mask;
    }
    lock_release(&table_lock);
}

static uint64_t mask_of(int fd)
{
    uint64_t mask = 0;
    lock_acquire(&table_lock);
    for (int i = 0; i < TABLE; i++)
        if (table[i].mask && table[i].fd == fd && table[i].generation == generation_of(fd))
            mask = table[i].mask;
    lock_release(&table_lock);
    return mask;
}

int green_signalfd(int fd, const sigset_t *set, int flags)
{
    if (patch_special && patch_special_enter(PATCH_signalfd))
        return real.signalfd(fd, set, flags);
    int made = real.signalfd(fd, set, flags);
    if (made < 0)
        return made;
    if (fd < 0)
        fd_opened(made, FD_SIGNAL, FD_OURS);
    mask_set(made, signal_mask_of(set));
    return made;
}

static void fill(struct signalfd_siginfo *out, const siginfo_t *info)
{
    memset(out, 0, sizeof *out);
    out->ssi_signo = (uint32_t)info->si_signo;
    out->ssi_errno = info->si_errno;
    out->ssi_code = info->si_code;
    out->ssi_pid = (uint32_t)info->si_pid;
    out->ssi_uid = info->si_uid;
    out->ssi_int = info->si_value.sival_int;
    out->ssi_ptr = (uintptr_t)info->si_value.sival_ptr;
}

ssize_t signalfd_read(int fd, void *buf, size_t len)
{
    struct green *g = green_tls.self;
    uint64_t mask = mask_of(fd);
    struct signalfd_siginfo *out = buf;
    size_t room = len / sizeof *out;
    ssize_t result;
    if (!mask || !room)
        return real.read(fd, buf, len);
    cancel_act();
    g->wait_signals = mask;
    for (;;) {
        siginfo_t info;
        size_t n = 0;
        while (n < room && signal_take(g, mask, &info))
            fill(&out[n++], &info);
        result = (ssize_t)(n * sizeof *out);
        if (n)
            break;
        struct pollfd ready = {fd, POLLIN, 0};
        bool blocks = !(real.fcntl(fd, F_GETFL, 0) & O_NONBLOCK);
        if (real.poll(&ready, 1, 0) > 0 || !blocks) {
            result = real.read(fd, buf, len);
            break;
        }
        int at = fd;
        enum wait_result r = io_wait(&at, IO_READ, DEADLINE_NEVER, WAIT_BY_SIGNAL | WAIT_BY_CANCEL);
        io_wait_done(at, fd);
        if (r == WAIT_INTERRUPTED) {
            errno = EINTR;
            result = -1;
            break;
        }
        if (r == WAIT_CANCELLED) {
            g->wait_signals = 0;
            cancel_act();
            g->wait_signals = mask;
        }
    }
    g->wait_signals = 0;
    return result;
}
