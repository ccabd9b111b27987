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

enum { CHUNK = 4096, CHUNKS = 1024, PRIVATE_MAX = 1024, PRIVATE_CEILING = 65536 };

static struct fd_entry *_Atomic fd_chunks[CHUNKS];

struct fd_entry *fd_entry(int fd)
{
    unsigned i = (unsigned)fd / CHUNK;
    if (fd < 0 || i >= CHUNKS)
        return NULL;
    struct fd_entry *chunk = atomic_load_explicit(&fd_chunks[i], memory_order_acquire);
    if (__builtin_expect(!chunk, 0)) {
        long p = sys_6(SYS_mmap, NULL, CHUNK * sizeof *chunk, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p < 0 && p > -4096)
            return NULL;
        struct fd_entry *fresh = (struct fd_entry *)p;
        if (atomic_compare_exchange_strong(&fd_chunks[i], &chunk, fresh))
            chunk = fresh;
        else
            sys_2(SYS_munmap, fresh, CHUNK * sizeof *chunk);
    }
    return &chunk[(unsigned)fd % CHUNK];
}

void fd_opened(int fd, enum fd_kind kind, int flags)
{
    struct fd_entry *e = fd_entry(fd);
    if (!e)
        return;
    atomic_fetch_add_explicit(&e->generation, 1, memory_order_relaxed);
    atomic_store_explicit(&e->kind, (uint8_t)kind, memory_order_relaxed);
    atomic_store_explicit(&e->flags, (uint8_t)flags, memory_order_relaxed);
    atomic_store_explicit(&e->timeouts, 0, memory_order_relaxed);
}

void fd_shared(int fd)
{
    struct fd_entry *e = fd_entry(fd);
    if (e)
        atomic_fetch_and_explicit(&e->flags, (uint8_t)~FD_OURS, memory_order_relaxed);
}

void fd_shared_all(void)
{
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct fd_entry *chunk = atomic_load_explicit(&fd_chunks[i], memory_order_acquire);
        for (unsigned k = 0; chunk && k < CHUNK; k++)
            if (atomic_load_explicit(&chunk[k].flags, memory_order_relaxed) & FD_OURS)
                atomic_fetch_and_explicit(&chunk[k].flags, (uint8_t)~FD_OURS,
                                          memory_order_relaxed);
    }
}

/* ---- Closing ---- */

void fd_closing(int fd)
{
    struct fd_entry *e = fd_entry(fd);
    if (!e)
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
    atomic_store_explicit(&e->timeouts, 0, memory_order_relaxed);
}

/* ---- Our own ---- */

/* Written under private_lock; read without: an int either is or is not there. */
static struct lock private_lock;
static _Atomic int private_fds[PRIVATE_MAX];
static _Atomic int private_count;

bool fd_is_private(int fd)
{
    int n = atomic_load_explicit(&private_count, memory_order_acquire);
    for (int i = 0; i < n; i++)
        if (atomic_load_explicit(&private_fds[i], memory_order_relaxed) == fd)
            return fd >= 0;
    return false;
}

static void private_add(int fd)
{
    lock_acquire(&private_lock);
    int n = atomic_load(&private_count), i = 0;
    while (i < n && atomic_load(&private_fds[i]) != -1)
        i++;
    if (i < PRIVATE_MAX) {
        atomic_store(&private_fds[i], fd);
        if (i == n)
            atomic_store_explicit(&private_count, n + 1, memory_order_release);
    }
    lock_release(&private_lock);
}

void fd_private_closed(int fd)
{
    int n = atomic_load(&private_count);
    for (int i = 0; i < n; i++) {
        int expected = fd;
        if (atomic_compare_exchange_strong(&private_fds[i], &expected, -1))
            return;
    }
}

/* The duplicate lies at the soft limit, where no number of the program's can come, if the hard
 * limit allows that; else just under it. Not above PRIVATE_CEILING, for the kernel's table grows
 * to the highest number and is copied at each fork. */
static int private_duplicate(int fd)
{
    struct rlimit64 old;
    if (sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &old))
        return -1;
    long n = -1;
    if (old.rlim_cur < old.rlim_max && old.rlim_cur <= PRIVATE_CEILING) {
        struct rlimit64 raised = old;
        raised.rlim_cur = old.rlim_cur + 4096 < old.rlim_max ? old.rlim_cur + 4096 : old.rlim_max;
        if (!sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, NULL)) {
            n = sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, old.rlim_cur);
            sys_4(SYS_prlimit64, 0, RLIMIT_NOFILE, &old, NULL);
        }
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

int fd_private_copy(int fd)
{
    int n = private_duplicate(fd);
    if (n >= 0)
        private_add(n);
    return n;
}

/* In a forked child: what the parent's loops opened is not ours to use; our copies are closed. */
void fd_fork(void)
{
    lock_init(&private_lock);
    int n = atomic_load(&private_count);
    for (int i = 0; i < n; i++) {
        int fd = atomic_load(&private_fds[i]);
        if (fd >= 0)
            sys_1(SYS_close, fd);
        atomic_store(&private_fds[i], -1);
    }
    atomic_store(&private_count, 0);
}
