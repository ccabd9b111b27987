#include "hub/debug/peek.h"

#include <fcntl.h>
#include <sys/uio.h>

#include "coro/sys.h"

enum { PAGE = 4096 };

/* Where a sandbox takes process_vm_readv() away. */
static long peek_file(void *to, uintptr_t from, size_t n)
{
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long got = sys_4(SYS_pread64, fd, to, n, from);
    sys_1(SYS_close, fd);
    return got;
}

static long peek_page(void *to, uintptr_t from, size_t n)
{
    struct iovec local = {to, n}, remote = {(void *)from, n};
    long got = sys_6(SYS_process_vm_readv, sys_0(SYS_getpid), &local, 1, &remote, 1, 0);
    if (got == -38 /* ENOSYS */ || got == -1 /* EPERM */)
        got = peek_file(to, from, n);
    return got;
}

size_t peek_some(void *to, uintptr_t from, size_t n)
{
    size_t done = 0;
    while (done < n) {
        uintptr_t at = from + done;
        size_t part = PAGE - at % PAGE;
        if (part > n - done)
            part = n - done;
        long got = peek_page((char *)to + done, at, part);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

bool peek(void *to, uintptr_t from, size_t n)
{
    return peek_some(to, from, n) == n;
}
