/* What is known of each descriptor number, and which numbers are libgreen's own.
 *
 * Entries lie in chunks that are mapped when first needed and stay. The fields are hints and
 * counters, written with relaxed atomics by whoever makes or closes the number.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "gen/real.h"
#include "internal.h"

enum { CHUNK = FD_CHUNK, CHUNKS = FD_CHUNKS, PRIVATE_CEILING = 65536 };

struct fd_entry *_Atomic fd_chunks[CHUNKS];

struct fd_entry *fd_entry_new(int fd)
{
    unsigned i = (unsigned)fd / CHUNK;
    if (fd < 0 || i >= CHUNKS)
        return NULL;
    struct fd_entry *chunk = NULL;
    long p = sys_6(SYS_mmap, NULL, CHUNK * sizeof *chunk, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p < 0 && p > -4096)
        return NULL;
    struct fd_entry *fresh = (struct fd_entry *)p;
    if (atomic_compare_exchange_strong(&fd_chunks[i], &chunk, fresh))
        chunk = fresh;
    else
        sys_2(SYS_munmap, fresh, CHUNK * sizeof *chunk);
    return &chunk[(unsigned)fd % CHUNK];
}

/* The entry if there is one: of a number that was never seen nothing is known. */
static struct fd_entry *fd_peek(int fd)
{
    unsigned i = (unsigned)fd / CHUNK;
    if (fd < 0 || i >= CHUNKS)
        return NULL;
    struct fd_entry *chunk = atomic_load_explicit(&fd_chunks[i], memory_order_acquire);
    return chunk ? &chunk[(unsigned)fd % CHUNK] : NULL;
}

/* A vfork child works on its parent's memory, but on descriptors of its own. */
static bool fd_not_ours(void)
{
    return atomic_load_explicit(&green_tls.own, memory_order_relaxed) == OWN_VFORK;
}

/* The highest number of the program's that was ever noted. */
static _Atomic int fd_high = -1;

int fd_highest(void)
{
    return atomic_load_explicit(&fd_high, memory_order_relaxed);
}

void fd_opened(int fd, enum fd_kind kind, int flags)
{
    struct fd_entry *e = fd_entry(fd);
    if (!e || fd_not_ours())
        return;
    int high = atomic_load_explicit(&fd_high, memory_order_relaxed);
    while (fd > high && !(flags & FD_PRIVATE) &&
           !atomic_compare_exchange_weak(&fd_high, &high, fd))
        ;
    atomic_fetch_add_explicit(&e->generation, 1, memory_order_relaxed);
    atomic_store_explicit(&e->kind, (uint8_t)kind, memory_order_relaxed);
    atomic_store_explicit(&e->flags, (uint8_t)flags, memory_order_relaxed);
    atomic_store_explicit(&e->options, 0, memory_order_relaxed);
}

void fd_shared(int fd)
{
    struct fd_entry *e = fd_peek(fd);
    if (e)
        atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_OURS, memory_order_relaxed);
}

/* What is only looked at is not written to: a forked child would get a copy of its page. */
void fd_shared_all(void)
{
    int high = fd_highest();
    for (int fd = 0; fd <= high; fd++) {
        const struct fd_entry *e = fd_peek(fd);
        if (!e)
            fd |= CHUNK - 1; /* nothing in this chunk */
        else if (atomic_load_explicit(&e->flags, memory_order_relaxed) & FD_OURS)
            fd_shared(fd);
    }
}

/* ---- Closing ---- */

void fd_closing(int fd)
{
    struct fd_entry *e = fd_peek(fd);
    if (!e || fd_not_ours())
        return;
    atomic_fetch_add_explicit(&e->generation, 1, memory_order_relaxed);
    unsigned n = atomic_load_explicit(&hub_count, memory_order_acquire);
    if (n) {
        int err = errno;
        int before = atomic_exchange(&green_tls.in, 1);
        for (unsigned i = 0; i < n; i++)
            io_closing(hub_all[i], fd);
        if (!before)
            leave();
        errno = err;
    }
    atomic_store_explicit(&e->kind, FD_UNKNOWN, memory_order_relaxed);
    atomic_store_explicit(&e->flags, 0, memory_order_relaxed);
    atomic_store_explicit(&e->options, 0, memory_order_relaxed);
}

void fd_closing_range(unsigned first, unsigned last)
{
    for (unsigned fd = first; fd <= last && fd < CHUNK * CHUNKS; fd++) {
        struct fd_entry *e = fd_peek((int)fd);
        if (!e)
            fd |= CHUNK - 1; /* nothing in this chunk */
        else if (!fd_is_private((int)fd))
            fd_closing((int)fd);
    }
}

/* ---- Our own ---- */

bool fd_is_private(int fd)
{
    struct fd_entry *e = fd_peek(fd);
    return e && atomic_load_explicit(&e->flags, memory_order_relaxed) & FD_PRIVATE;
}

static void private_add(int fd)
{
    fd_opened(fd, FD_OTHER, FD_PRIVATE);
}

void fd_private_closed(int fd)
{
    struct fd_entry *e = fd_peek(fd);
    if (e)
        atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_PRIVATE, memory_order_relaxed);
}

int fd_private_next(int from)
{
    for (unsigned i = from < 0 ? 0 : (unsigned)from; i < CHUNK * CHUNKS; i++) {
        struct fd_entry *e = fd_peek((int)i);
        if (!e)
            i |= CHUNK - 1; /* nothing in this chunk */
        else if (atomic_load_explicit(&e->flags, memory_order_relaxed) & FD_PRIVATE)
            return (int)i;
    }
    return -1;
}

/* The soft limit, raised for a moment as far as the hard one allows: no number of the program's can
 * come where it was. Not above PRIVATE_CEILING, for the kernel's table grows to the highest number and
 * is copied at each fork. True when it was raised; `old` is what it was in any case. */
static bool limit_raise(struct rlimit64 *old)
{
    if (sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, old)) {
        *old = (struct rlimit64){0};
        return false;
    }
    if (old->rlim_cur >= old->rlim_max || old->rlim_cur > PRIVATE_CEILING)
        return false;
    struct rlimit64 raised = *old;
    raised.rlim_cur = old->rlim_cur + 4096 < old->rlim_max ? old->rlim_cur + 4096 : old->rlim_max;
    return !sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, NULL);
}

static void limit_restore(const struct rlimit64 *old)
{
    sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, old, NULL);
}

/* The duplicate lies at the soft limit, or just under it where that cannot be raised. */
static int private_duplicate(int fd)
{
    struct rlimit64 old;
    long n = -1;
    if (limit_raise(&old)) {
        n = sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, old.rlim_cur);
        limit_restore(&old);
    }
    rlim64_t top = old.rlim_cur < PRIVATE_CEILING ? old.rlim_cur : PRIVATE_CEILING;
    for (rlim64_t below = 32; n < 0 && below < top; below *= 2)
        n = sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, top - below);
    return (int)n;
}

int fd_make_private(int fd)
{
    int n = private_duplicate(fd);
    if (n >= 0) {
        sys_1(SYS_close, fd);
        fd = n;
    }
    private_add(fd);
    return fd;
}

int fd_private_open(long (*open)(void))
{
    long fd = open();
    if (fd == -EMFILE) {
        struct rlimit64 old;
        if (!limit_raise(&old))
            return -EMFILE;
        fd = open();
        limit_restore(&old);
        if (fd >= 0)
            private_add((int)fd);
        return (int)fd;
    }
    return fd < 0 ? (int)fd : fd_make_private((int)fd);
}

int fd_private_copy(int fd)
{
    int n = private_duplicate(fd);
    if (n >= 0)
        private_add(n);
    struct fd_entry *e = fd_peek(n);
    if (e)
        atomic_store_explicit(&e->users, 0, memory_order_relaxed);
    return n;
}

/* In a forked child: what the parent's loops opened is not ours to use; our copies are closed. */
void fd_fork(void)
{
    for (int fd = -1; (fd = fd_private_next(fd + 1)) >= 0;) {
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
    }
}
