#include "hub/debug/calls.h"

#include <stddef.h>
#include <sys/syscall.h>

#define CALL(name) {SYS_##name, #name}

static const struct {
    long number;
    const char *name;
} calls[] = {
    CALL(read), CALL(write), CALL(pread64), CALL(pwrite64), CALL(readv), CALL(writev),
    CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2), CALL(openat), CALL(close),
    CALL(ioctl), CALL(fcntl), CALL(flock), CALL(fsync), CALL(fdatasync), CALL(sync), CALL(syncfs),
    CALL(sync_file_range), CALL(ftruncate), CALL(fallocate), CALL(copy_file_range),
    CALL(sendfile), CALL(splice), CALL(tee), CALL(vmsplice), CALL(getdents64), CALL(newfstatat),
    CALL(statx), CALL(unlinkat), CALL(renameat2), CALL(mount), CALL(msync), CALL(mlock),
    CALL(munmap), CALL(mmap), CALL(mprotect), CALL(madvise), CALL(futex), CALL(nanosleep),
    CALL(clock_nanosleep), CALL(ppoll), CALL(pselect6), CALL(epoll_pwait), CALL(epoll_pwait2),
    CALL(accept), CALL(accept4), CALL(connect), CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg),
    CALL(sendto), CALL(sendmsg), CALL(sendmmsg), CALL(shutdown), CALL(wait4), CALL(waitid),
    CALL(rt_sigtimedwait), CALL(rt_sigsuspend), CALL(msgrcv), CALL(msgsnd), CALL(semop),
    CALL(semtimedop), CALL(mq_timedsend), CALL(mq_timedreceive), CALL(io_getevents),
    CALL(io_uring_enter), CALL(clone), CALL(execve), CALL(getrandom), CALL(sched_yield),
    CALL(restart_syscall), CALL(membarrier), CALL(process_vm_readv), CALL(ptrace),
#if defined(__x86_64__)
    CALL(open), CALL(poll), CALL(select), CALL(pause), CALL(epoll_wait), CALL(vfork), CALL(stat),
    CALL(lstat), CALL(unlink), CALL(rename), CALL(getdents),
#endif
};

void calls_put(struct put *p, long number)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == number) {
            put_text(p, calls[i].name);
            return;
        }
    put_number(p, (uint64_t)number);
}
