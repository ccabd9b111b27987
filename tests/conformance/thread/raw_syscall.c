/* System calls made through syscall() by number: they wait as the functions do, and others run meanwhile. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static int fds[2], pair[2];
static int ticks, stop;

static void *tick(void *argument)
{
    while (!atomic_get(&stop)) {
        atomic_add(&ticks, 1);
        sleep_ms(1);
    }
    return argument;
}

/* Writes once the clock has gone on, which shows that others run while the reader waits; in the end in any case. */
static void *write_later(void *argument)
{
    int seen = atomic_get(&ticks);
    for (int i = 0; i < 2000 && atomic_get(&ticks) < seen + 3; i++) {
        sleep_ms(1);
    }
    EXPECT(atomic_get(&ticks) >= seen + 3);
    EXPECT_EQ(syscall(SYS_write, *(int *)argument, "x", 1), 1);
    return NULL;
}

#define WAITS_WHILE_OTHERS_RUN(descriptor, call, expected)       \
    do {                                                         \
        pthread_t writer = start(write_later, &(descriptor));    \
        EXPECT_EQ(call, expected);                               \
        finish(writer);                                          \
    } while (0)

static void waiting_calls_let_others_run(void)
{
    char byte;
    struct iovec iov = { &byte, 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct epoll_event interest = { .events = EPOLLIN }, got;
    struct pollfd item;
    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    atomic_set(&stop, 0);
    pthread_t clock = start(tick, NULL);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_read, fds[0], &byte, 1), 1);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_readv, fds[0], &iov, 1), 1);
    WAITS_WHILE_OTHERS_RUN(pair[1], syscall(SYS_read, pair[0], &byte, 1), 1);
    WAITS_WHILE_OTHERS_RUN(pair[1], syscall(SYS_recvfrom, pair[0], &byte, 1, 0, NULL, NULL), 1);
    WAITS_WHILE_OTHERS_RUN(pair[1], syscall(SYS_recvmsg, pair[0], &message, 0), 1);
    item = (struct pollfd){ .fd = fds[0], .events = POLLIN };
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_poll, &item, 1, -1), 1);
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_ppoll, &item, 1, NULL, NULL, 0), 1);
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_select, fds[0] + 1, &set, NULL, NULL, NULL), 1);
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    int epoll = epoll_create1(0);
    EXPECT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &interest), 0);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_epoll_wait, epoll, &got, 1, -1), 1);
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    WAITS_WHILE_OTHERS_RUN(fds[1], syscall(SYS_epoll_pwait, epoll, &got, 1, -1, NULL, 8), 1);
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    EXPECT_EQ(syscall(SYS_close, epoll), 0);
    struct timespec duration = { 0, 5000000 }, deadline;
    int before = atomic_get(&ticks);
    for (int i = 0; i < 1000 && atomic_get(&ticks) == before; i++) {
        EXPECT_EQ(syscall(SYS_nanosleep, &duration, NULL), 0);
    }
    EXPECT(atomic_get(&ticks) > before);
    before = atomic_get(&ticks);
    for (int i = 0; i < 1000 && atomic_get(&ticks) == before; i++) {
        deadline = ms_from_now(CLOCK_MONOTONIC, 5);
        EXPECT_EQ(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL), 0);
        EXPECT(now_ns(CLOCK_MONOTONIC) >= deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec);
    }
    EXPECT(atomic_get(&ticks) > before);
    atomic_set(&stop, 1);
    finish(clock);
}

static void *set_flag(void *argument)
{
    atomic_set(argument, 1);
    return NULL;
}

static void sched_yield_yields(void)
{
    int flag = 0;
    pthread_t thread = start(set_flag, &flag);
    for (int i = 0; i < 10000000 && !atomic_get(&flag); i++) {
        EXPECT_EQ(syscall(SYS_sched_yield), 0);
    }
    EXPECT_EQ(atomic_get(&flag), 1);
    finish(thread);
}

static volatile int handled;

static void on_signal(int number)
{
    (void)number;
    handled = 1 + (gettid() == getpid());
}

static void *kill_oneself(void *argument)
{
    EXPECT_EQ(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), 0);
    EXPECT_EQ(handled, 1);
    return argument;
}

static void tgkill_finds_the_thread(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGUSR1, &action, NULL);
    finish(start(kill_oneself, NULL));
    EXPECT_EQ(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), 0);
    EXPECT_EQ(handled, 2);
    EXPECT_ERRNO(syscall(SYS_tgkill, getpid(), -1, SIGUSR1), EINVAL);
}

enum { IO_OF_PROCESS = 1, IO_BEST_EFFORT_7 = 2 << 13 | 7 }; /* ioprio_set(2) */

/* By its own id, by the ids that others have, and by 0. */
static void calls_by_id(long tid, long other)
{
    struct sched_param param = { .sched_priority = 0 };
    struct timespec interval;
    cpu_set_t cpus;
    const long ids[] = { tid, other, 0 };
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(syscall(SYS_sched_getscheduler, ids[i]), SCHED_OTHER);
        EXPECT_EQ(syscall(SYS_sched_getparam, ids[i], &param), 0);
        EXPECT_EQ(syscall(SYS_sched_setparam, ids[i], &param), 0);
        EXPECT_EQ(syscall(SYS_sched_setscheduler, ids[i], SCHED_OTHER, &param), 0);
        EXPECT_EQ(syscall(SYS_sched_rr_get_interval, ids[i], &interval), 0);
        EXPECT(syscall(SYS_sched_getaffinity, ids[i], sizeof cpus, &cpus) > 0);
        EXPECT_EQ(syscall(SYS_sched_setaffinity, ids[i], sizeof cpus, &cpus), 0);
        EXPECT_EQ(syscall(SYS_ioprio_get, IO_OF_PROCESS, ids[i]) >= 0, 1);
    }
    EXPECT_ERRNO(syscall(SYS_sched_getscheduler, 0x3fffffff), ESRCH);
}

static void signals_by_id(long tid)
{
    siginfo_t info = { .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid() };
    EXPECT_EQ(syscall(SYS_tgkill, getpid(), tid, SIGUSR1), 0);
    EXPECT_EQ(handled, 1);
    handled = 0;
    EXPECT_EQ(syscall(SYS_tkill, tid, SIGUSR1), 0);
    EXPECT_EQ(handled, 1);
    handled = 0;
    EXPECT_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGUSR1, &info), 0);
    EXPECT_EQ(handled, 1);
    handled = 0;
    EXPECT_ERRNO(syscall(SYS_tkill, 0x3fffffff, SIGUSR1), ESRCH);
    EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), 0x3fffffff, SIGUSR1, &info), ESRCH);
    EXPECT_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, 100, &info), EINVAL);
}

/* The kernel takes a thread's id for its process's. */
static void the_process_by_id(long tid)
{
    EXPECT_EQ(kill((pid_t)tid, 0), 0);
    EXPECT_EQ(kill((pid_t)tid, SIGUSR1), 0);
    for (int i = 0; i < 5000 && !handled; i++) {
        sleep_ms(1);
    }
    EXPECT(handled);
    handled = 0;
}

static void *name_oneself(void *other)
{
    long tid = syscall(SYS_gettid);
    calls_by_id(tid, *(long *)other);
    signals_by_id(tid);
    the_process_by_id(tid);
    return NULL;
}

/* With a niceness or an I/O priority of its own. */
static void *name_oneself_when_nicer(void *other)
{
    long tid = syscall(SYS_gettid);
    EXPECT_EQ(syscall(SYS_setpriority, PRIO_PROCESS, tid, 5), 0);
    EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, tid), 20 - 5);
    EXPECT_EQ(syscall(SYS_gettid), tid);
    return name_oneself(other);
}

static void *name_oneself_when_idle(void *other)
{
    long tid = syscall(SYS_gettid);
    EXPECT_EQ(syscall(SYS_ioprio_set, IO_OF_PROCESS, tid, IO_BEST_EFFORT_7), 0);
    EXPECT_EQ(syscall(SYS_ioprio_get, IO_OF_PROCESS, tid), IO_BEST_EFFORT_7);
    EXPECT_EQ(syscall(SYS_ioprio_get, IO_OF_PROCESS, 0), IO_BEST_EFFORT_7);
    return name_oneself(other);
}

static int told, over;

static void *tell_and_wait(void *argument)
{
    atomic_set(&told, (int)syscall(SYS_gettid));
    EXPECT(wait_for_value(&over, 1));
    return argument;
}

/* Whatever comes of it for the other one. */
static void another_s_priority_is_not_one_s_own(void)
{
    long io = syscall(SYS_ioprio_get, IO_OF_PROCESS, 0);
    atomic_set(&told, 0);
    atomic_set(&over, 0);
    pthread_t thread = start(tell_and_wait, NULL);
    while (!atomic_get(&told)) {
        sleep_ms(1);
    }
    syscall(SYS_ioprio_set, IO_OF_PROCESS, atomic_get(&told), IO_BEST_EFFORT_7);
    EXPECT_EQ(syscall(SYS_ioprio_get, IO_OF_PROCESS, 0), io);
    atomic_set(&over, 1);
    finish(thread);
}

static void threads_are_known_by_their_ids(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    long tid = syscall(SYS_gettid), io = syscall(SYS_ioprio_get, IO_OF_PROCESS, 0);
    int nice = getpriority(PRIO_PROCESS, 0);
    sigaction(SIGUSR1, &action, NULL);
    handled = 0;
    finish(start(name_oneself, &tid));
    finish(start(name_oneself_when_nicer, &tid));
    finish(start(name_oneself_when_idle, &tid));
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), nice);
    EXPECT_EQ(syscall(SYS_ioprio_get, IO_OF_PROCESS, 0), io);
}

static void numbers_that_do_not_wait_pass_through(void)
{
    EXPECT_EQ(syscall(SYS_getpid), getpid());
    EXPECT_EQ(syscall(SYS_getppid), getppid());
    EXPECT_EQ(syscall(SYS_gettid), gettid());
    EXPECT_ERRNO(syscall(4000), ENOSYS);
    EXPECT_ERRNO(syscall(-1), ENOSYS);
    EXPECT_ERRNO(syscall(SYS_close, -1), EBADF);
    EXPECT_ERRNO(syscall(SYS_read, -1, NULL, 0), EBADF);
    char *page = (char *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(page != MAP_FAILED);
    page[0] = 'p';
    EXPECT_EQ(syscall(SYS_munmap, page, 4096), 0);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "file", O_RDWR | O_CREAT, 0600);
    EXPECT(fd >= 0);
    EXPECT_EQ(syscall(SYS_pwrite64, fd, "abc", 3, 5L), 3);
    EXPECT_EQ(syscall(SYS_lseek, fd, 0L, SEEK_END), 8);
    EXPECT_EQ(syscall(SYS_close, fd), 0);
    EXPECT_EQ(unlink("file"), 0);
}

static void *pass_through(void *argument)
{
    numbers_that_do_not_wait_pass_through();
    return argument;
}

static void and_on_threads(void)
{
    finish(start(pass_through, NULL));
}

/* As a checker of thread libraries does; the thread does not end afterwards. */
static void *ask_by_tid_address(void *argument)
{
    static int word;
    EXPECT_EQ(syscall(SYS_set_tid_address, &word), gettid());
    fflush(stdout);
    _exit(check_failures ? 1 : 23);
    return argument;
}

static int tid_address(void)
{
    finish(start(ask_by_tid_address, NULL));
    return 1;
}

static void set_tid_address_tells_the_thread(void)
{
    EXPECT_EXITS(child_run(tid_address), 23);
}

static int exit_the_group(void)
{
    syscall(SYS_exit_group, 23);
    return 1;
}

static void exit_group_ends_the_process(void)
{
    EXPECT_EXITS(child_run(exit_the_group), 23);
}

struct attributes { /* struct sched_attr, which not all headers have */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* What GLib's pools do: each thread begins with the attributes of the one that made the pool. */
static void *take_attributes(void *given)
{
    struct attributes mine, *its = given;
    long tid = syscall(SYS_gettid);
    EXPECT_EQ(syscall(SYS_sched_getattr, tid, &mine, sizeof mine, 0), 0);
    EXPECT_EQ(mine.policy, SCHED_OTHER);
    EXPECT_EQ(syscall(SYS_sched_setattr, tid, its, 0), 0);
    EXPECT_EQ(syscall(SYS_sched_getattr, tid, &mine, sizeof mine, 0), 0);
    EXPECT_EQ(mine.policy, its->policy);
    EXPECT_EQ(mine.flags, its->flags);
    EXPECT_EQ(mine.nice, its->nice);
    EXPECT_EQ(sched_getscheduler(0) & ~SCHED_RESET_ON_FORK, its->policy);
    EXPECT_EQ(syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0), 0);
    EXPECT_EQ(mine.policy, its->policy);
    mine.policy = 77;
    EXPECT_ERRNO(syscall(SYS_sched_setattr, tid, &mine, 0), EINVAL);
    EXPECT_ERRNO(syscall(SYS_sched_setattr, tid, NULL, 0), EINVAL);
    EXPECT_ERRNO(syscall(SYS_sched_getattr, tid, &mine, 8, 0), EINVAL);
    return NULL;
}

static void attributes_are_the_caller_s_alone(void)
{
    struct attributes before, given, after;
    pthread_t threads[3];
    EXPECT_EQ(syscall(SYS_sched_getattr, 0, &before, sizeof before, 0), 0);
    given = before;
    finish(start(take_attributes, &given));
    given.policy = SCHED_BATCH;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(take_attributes, &given);
    }
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    given.flags = 1; /* SCHED_FLAG_RESET_ON_FORK */
    given.nice = 19;
    finish(start(take_attributes, &given));
    EXPECT_EQ(syscall(SYS_sched_getattr, getpid(), &after, sizeof after, 0), 0);
    EXPECT_EQ(after.policy, SCHED_OTHER);
    EXPECT_EQ(after.nice, before.nice);
}

static const struct check checks[] = {
    CHECK(waiting_calls_let_others_run),
    CHECK(sched_yield_yields),
    CHECK(tgkill_finds_the_thread),
    CHECK(threads_are_known_by_their_ids),
    CHECK(another_s_priority_is_not_one_s_own),
    CHECK(numbers_that_do_not_wait_pass_through),
    CHECK(and_on_threads),
    CHECK(attributes_are_the_caller_s_alone),
    CHECK(set_tid_address_tells_the_thread),
    CHECK(exit_group_ends_the_process),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
