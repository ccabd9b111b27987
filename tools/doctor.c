#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

#define DOCTOR_LIBC "2.36" /* what coro/libc.c was written for */

static void doctor_line(const char *what, const char *answer, const char *meaning)
{
    printf("%-20s %-9s %s\n", what, answer, meaning);
}

static void doctor_say(const char *what, bool has, const char *with, const char *without)
{
    doctor_line(what, has ? "yes" : "no", has ? with : without);
}

/* ---- What is tried ------------------------------------------------------------------------ */

static bool doctor_guards(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return false;
    bool has = madvise(at, page, MADV_GUARD_INSTALL) == 0;
    munmap(at, page);
    return has;
}

/* Does a read of an empty descriptor come back at once under RWF_NOWAIT? Where the flag is not
 * known the call fails before it waits. */
static bool doctor_nowait_on(int ends[2])
{
    char byte;
    struct iovec into = {&byte, 1};
    bool has = preadv2(ends[0], &into, 1, -1, RWF_NOWAIT) < 0 && errno == EAGAIN;
    close(ends[0]);
    close(ends[1]);
    return has;
}

static bool doctor_nowait_pipe(void)
{
    int ends[2];
    return pipe2(ends, O_CLOEXEC) == 0 && doctor_nowait_on(ends);
}

static bool doctor_nowait_socket(void)
{
    int ends[2];
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 && doctor_nowait_on(ends);
}

static bool doctor_membarrier(void)
{
    long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    return known >= 0 && (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static bool doctor_io_uring(void)
{
    struct io_uring_params how = {0};
    int fd = (int)syscall(SYS_io_uring_setup, 1, &how);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static bool doctor_pidfd(void)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* With a bad descriptor: the call is there when that is what it minds. */
static bool doctor_epoll_pwait2(void)
{
    char event[64];
    return syscall(SYS_epoll_pwait2, -1, event, 1, NULL, NULL, 0) < 0 && errno == EBADF;
}

/* libc tells the size of the area that it registered; it registered none where the kernel or a
 * tunable refused. */
extern const unsigned int __rseq_size __attribute__((weak));

static bool doctor_rseq(void)
{
    return &__rseq_size != NULL && __rseq_size != 0;
}

/* The number that a line of a file in /proc begins with, behind `key` where that is not "". */
static bool doctor_number(const char *path, const char *key, long *number)
{
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) {
            *number = strtol(line + strlen(key), NULL, 10);
            found = true;
        }
    if (file != NULL)
        fclose(file);
    return found;
}

/* ---- What is said ------------------------------------------------------------------------- */

static void doctor_versions(void)
{
    struct utsname system;
    char text[160];
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "%.60s %.40s on %.40s", system.sysname, system.release,
                 system.machine);
        doctor_line("kernel", "-", text);
    }
    const char *version = gnu_get_libc_version();
    const bool known = strcmp(version, DOCTOR_LIBC) == 0;
    snprintf(text, sizeof text, "glibc %.20s%s", version,
             known ? ""
                   : ": another than " DOCTOR_LIBC ", which libgreen was written for; it looks "
                     "at libc's layout at start and refuses what it does not know");
    doctor_line("libc", known ? "yes" : "no", text);
}

static void doctor_kernel(void)
{
#if defined(__x86_64__)
    doctor_say("FSGSBASE", (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0,
               "a switch sets the thread pointer by an instruction",
               "a switch sets the thread pointer by a system call, arch_prctl");
#else
    doctor_line("FSGSBASE", "-", "not on this processor: a switch sets tpidr_el0");
#endif
    doctor_say("MADV_GUARD_INSTALL", doctor_guards(), "guard pages of stacks take no mapping",
               "guards by mprotect, two mappings each, until half of max_map_count is used; "
               "stacks made after that have none");
    doctor_say("RWF_NOWAIT sockets", doctor_nowait_socket(), "read and write try without waiting",
               "read and write wait for readiness first");
    doctor_say("RWF_NOWAIT pipes", doctor_nowait_pipe(), "read and write try without waiting",
               "read and write wait for readiness first");
    doctor_say("membarrier", doctor_membarrier(), "entering the runtime takes no fence",
               "entering the runtime takes a fence each time");
    doctor_say("io_uring", doctor_io_uring(),
               "programs may use it; libgreen does not: accept and connect on shared descriptors "
               "hand off",
               "not for programs either; accept and connect on shared descriptors hand off");
    doctor_say("pidfd", doctor_pidfd(), "waits for a child on a descriptor of its own",
               "a wait for a child hands off");
    doctor_say("epoll_pwait2", doctor_epoll_pwait2(), "timers are exact to the clock",
               "timers are exact to a millisecond, rounded up");
    doctor_say("rseq", doctor_rseq(), "registered by libc; libgreen takes it back at start",
               "not registered by libc, and not needed");
}

static void doctor_limit(const char *what, int resource, rlim_t unit, const char *unit_name,
                         const char *meaning)
{
    struct rlimit limit;
    char text[40] = "unlimited";
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return;
    if (limit.rlim_cur != RLIM_INFINITY)
        snprintf(text, sizeof text, "%llu%s", (unsigned long long)(limit.rlim_cur / unit),
                 unit_name);
    doctor_line(what, text, meaning);
}

static void doctor_limits(void)
{
    long number = 0;
    char text[40];
    if (doctor_number("/proc/sys/vm/max_map_count", "", &number)) {
        snprintf(text, sizeof text, "%ld", number);
        doctor_line("max_map_count", text,
                    "mappings in a process; guards by mprotect take two each");
    }
    doctor_limit("RLIMIT_STACK", RLIMIT_STACK, 1024, "K",
                 "the stack of a thread that asks for none");
    doctor_limit("RLIMIT_NOFILE", RLIMIT_NOFILE, 1, "",
                 "descriptors; libgreen takes a few at the top");
    doctor_limit("RLIMIT_NPROC", RLIMIT_NPROC, 1, "",
                 "carriers and helper threads count, green threads "
                 "do not");
    doctor_limit("RLIMIT_AS", RLIMIT_AS, 1 << 20, "M",
                 "address space, of which stacks reserve their "
                 "full size");
    doctor_limit("RLIMIT_MEMLOCK", RLIMIT_MEMLOCK, 1024, "K",
                 "what mlockall may lock; unused stacks "
                 "are not locked");
}

static void doctor_sandbox(void)
{
    long number = 0;
    if (doctor_number("/proc/self/status", "Seccomp:", &number))
        doctor_say("seccomp", number != 0,
                   number == 1 ? "strict mode: nothing can run"
                               : "a filter; what it refuses shows as no above",
                   "no filter");
    else
        doctor_line("/proc", "no",
                    "not mounted: libgreen cannot reopen terminals and FIFOs, and "
                    "waits for readiness first");
    if (doctor_number("/proc/sys/vm/overcommit_memory", "", &number))
        doctor_say("overcommit", number != 2, "reserved stacks cost nothing until they are used",
                   "off: reserved stacks are opened in chunks, and each chunk counts as memory");
}

void doctor_print(void)
{
    doctor_versions();
    doctor_kernel();
    doctor_limits();
    doctor_sandbox();
}
