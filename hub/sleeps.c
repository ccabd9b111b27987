/* Does an OS thread sleep in the kernel? Only /proc says so, and to read it takes a descriptor: opened in
 * the process's table it would have for a moment the number that the program expects to get next, and
 * where the program has used all of its descriptors there would be none. So a thread with a table of its
 * own, which is empty, looks. It is made when somebody asks, ends when nobody asks again at once, and
 * uses no libc at all: no malloc, whose lock may be held by the very thread that it is asked about, and
 * no thread-local storage.
 */
#include "sleeps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "../coro/decimal.h"
#include "../coro/sys.h"

enum {
    STACK = 16 * 1024,
    LINGER_NS = 200000,
    PATIENCE_NS = 1000000, /* whoever has to wait longer for a processor is not the only one */
    LEAVES = -1,
};

static struct {
    _Atomic int lives;  /* the thread's number; the kernel clears it at its end, and wakes who waits */
    _Atomic int asked;  /* futex: about whom; 0: nobody; LEAVES: it ends */
    _Atomic int answer; /* futex: that number, negative if it does not sleep */
    _Atomic int asking; /* the monitor is inside thread_sleeps() */
    _Atomic int barred; /* how many keep it from being made */
} looker;

static _Alignas(64) char looker_stack[STACK];

static long futex_wait(_Atomic int *word, int value, int64_t ns, int flags)
{
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    return sys_6(SYS_futex, word, FUTEX_WAIT | flags, value, &ts, NULL, 0);
}

static void futex_wake(_Atomic int *word)
{
    sys_6(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- On the thread that looks ---- */

/* S sleeps; R waits for a processor; D for a lock or a disk that will not be long. Where /proc cannot be
 * read, it sleeps. */
static bool look_sleeps(int tid)
{
    char path[48] = "/proc/self/task/", stat[512];
    decimal_path(path, (uint64_t)tid, "/stat");
    long fd = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return true;
    long length = sys_3(SYS_read, fd, stat, sizeof stat);
    sys_1(SYS_close, fd);
    while (length > 0 && stat[length - 1] != ')')
        length--;
    return length <= 0 || stat[length + 1] == 'S';
}

/* The table is unshared and emptied in one go, so that nothing that the program closes stays open here
 * (before Linux 6.12 the first 64 are held for as long as the call takes). Where the kernel has no such
 * call, before Linux 5.9, the program's table is used. */
static int look_main(void *unused)
{
    (void)unused;
    sys_5(SYS_prctl, 15 /* PR_SET_NAME */, "green-looker", 0, 0, 0);
    sys_3(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
    for (;;) {
        int tid = atomic_load(&looker.asked);
        if (tid == LEAVES)
            return 0;
        if (tid) {
            atomic_store(&looker.answer, look_sleeps(tid) ? tid : -tid);
            atomic_compare_exchange_strong(&looker.asked, &tid, 0); /* unless he asks for another */
            futex_wake(&looker.answer);
        } else if (futex_wait(&looker.asked, 0, LINGER_NS, FUTEX_PRIVATE_FLAG) == -ETIMEDOUT) {
            atomic_compare_exchange_strong(&looker.asked, &tid, LEAVES);
        }
    }
}

/* ---- On the thread that asks ---- */

/* The thread is libc's to nobody: it stands on the caller's control block, which it never touches. */
static bool looker_start(void)
{
    enum {
        FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID
    };
    return clone(look_main, looker_stack + STACK, FLAGS, NULL, &looker.lives,
                 __builtin_thread_pointer(), &looker.lives) > 0;
}

/* It is on its way out: until its stack is free. */
static void looker_await_end(void)
{
    int tid;
    while ((tid = atomic_load(&looker.lives)))
        futex_wait(&looker.lives, tid, PATIENCE_NS, 0); /* the kernel's wake is not a private one */
}

/* Puts the question; false when it cannot be put. */
static bool looker_ask(int tid)
{
    int before = atomic_load(&looker.asked);
    atomic_store(&looker.answer, 0);
    while (before != LEAVES && atomic_load(&looker.lives))
        if (atomic_compare_exchange_weak(&looker.asked, &before, tid)) {
            futex_wake(&looker.asked);
            return true;
        }
    looker_await_end();
    atomic_store(&looker.asked, tid);
    return looker_start();
}

static int64_t now_ns(void)
{
    struct timespec ts;
    sys_2(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int thread_sleeps(pid_t tid)
{
    int sleeps = -1;
    atomic_store(&looker.asking, 1);
    if (!atomic_load(&looker.barred)) {
        int64_t until = now_ns() + PATIENCE_NS, left = PATIENCE_NS;
        int answer = 0;
        bool asked = looker_ask(tid);
        while (asked && (answer = atomic_load(&looker.answer)) != tid && answer != -tid && left > 0) {
            futex_wait(&looker.answer, answer, left, FUTEX_PRIVATE_FLAG);
            left = until - now_ns();
        }
        if (!asked || answer == tid || answer == -tid)
            sleeps = !asked || answer == tid;
    }
    atomic_store(&looker.asking, 0);
    return sleeps;
}

void sleeps_bar(void)
{
    atomic_fetch_add(&looker.barred, 1);
    while (atomic_load(&looker.asking)) {
        struct timespec ts = {0, 20000};
        sys_2(SYS_nanosleep, &ts, NULL);
    }
    atomic_store(&looker.asked, LEAVES);
    futex_wake(&looker.asked);
    looker_await_end();
}

void sleeps_unbar(void)
{
    atomic_fetch_sub(&looker.barred, 1);
}

void sleeps_fork(void)
{
    atomic_store(&looker.lives, 0);
    atomic_store(&looker.asked, 0);
    atomic_store(&looker.asking, 0);
    atomic_store(&looker.barred, 0);
}
