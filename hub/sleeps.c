/* Does an OS thread sleep in the kernel, or wait for a processor? Only /proc says so, and to read it takes a descriptor: opened in
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
    _Atomic int answer; /* futex: answer_of() that number and its state */
    _Atomic int asking; /* the monitor is inside thread_state() */
    _Atomic int barred; /* how many keep it from being made */
    int last;           /* the number of the last one; the asker's */
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

/* An answer says about whom: one that comes late must not be taken for that to the next question. */
static int answer_of(int tid, enum thread_state state)
{
    return tid << 2 | (int)state;
}

/* ---- On the thread that looks ---- */

/* Reads a file of the thread's; 0 if it cannot be read. */
static long look_at(int tid, const char *file, char *text, size_t size)
{
    char path[48] = "/proc/self/task/";
    decimal_path(path, (uint64_t)tid, file);
    long fd = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    long length = sys_3(SYS_read, fd, text, size - 1);
    sys_1(SYS_close, fd);
    text[length > 0 ? length : 0] = 0;
    return length > 0 ? length : 0;
}

/* Is it in a call that changes the memory map? */
static bool look_maps(int tid)
{
    static const int calls[] = {SYS_mmap,    SYS_munmap, SYS_mprotect,
                                SYS_madvise, SYS_mremap, SYS_brk};
    char text[32];
    if (!look_at(tid, "/syscall", text, sizeof text) || text[0] < '0' || text[0] > '9')
        return false;
    int number = 0;
    for (const char *p = text; *p >= '0' && *p <= '9'; p++)
        number = number * 10 + (*p - '0');
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (number == calls[i])
            return true;
    return false;
}

static enum thread_state look(int tid)
{
    char stat[512];
    long length = look_at(tid, "/stat", stat, sizeof stat);
    while (length > 0 && stat[length - 1] != ')')
        length--;
    if (length <= 0 || stat[length + 1] == 'S')
        return THREAD_SLEEPS;
    return stat[length + 1] == 'R' || look_maps(tid) ? THREAD_RUNNABLE : THREAD_BLOCKED;
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
            atomic_store(&looker.answer, answer_of(tid, look(tid)));
            atomic_compare_exchange_strong(&looker.asked, &tid, 0); /* unless he asks for another */
            futex_wake(&looker.answer);
        } else if (futex_wait(&looker.asked, 0, LINGER_NS, FUTEX_PRIVATE_FLAG) == -ETIMEDOUT) {
            atomic_compare_exchange_strong(&looker.asked, &tid, LEAVES);
        }
    }
}

/* ---- On the thread that asks ---- */

/* Its stack is free before it is gone: a lock of the kernel's that the program contends for can hold it up
 * on its way out, and while one is there no other is made, or they would add up. */
static bool looker_lingers(void)
{
    return looker.last && sys_3(SYS_tgkill, sys_1(SYS_getpid, 0), looker.last, 0) == 0;
}

/* The thread is libc's to nobody: it stands on the caller's control block, which it never touches. */
static bool looker_start(void)
{
    enum {
        FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID
    };
    looker.last = clone(look_main, looker_stack + STACK, FLAGS, NULL, &looker.lives,
                        __builtin_thread_pointer(), &looker.lives);
    return looker.last > 0;
}

/* It is on its way out: until its stack is free. */
static void looker_await_end(void)
{
    int tid;
    while ((tid = atomic_load(&looker.lives)))
        futex_wait(&looker.lives, tid, PATIENCE_NS, 0); /* the kernel's wake is not a private one */
}

enum ask { ASK_PUT, ASK_LATER, ASK_IMPOSSIBLE };

static enum ask looker_ask(int tid)
{
    int before = atomic_load(&looker.asked);
    atomic_store(&looker.answer, 0);
    while (before != LEAVES && atomic_load(&looker.lives))
        if (atomic_compare_exchange_weak(&looker.asked, &before, tid)) {
            futex_wake(&looker.asked);
            return ASK_PUT;
        }
    looker_await_end();
    if (looker_lingers())
        return ASK_LATER;
    atomic_store(&looker.asked, tid);
    return looker_start() ? ASK_PUT : ASK_IMPOSSIBLE;
}

static int64_t now_ns(void)
{
    struct timespec ts;
    sys_2(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

enum thread_state thread_state(pid_t tid)
{
    enum thread_state state = THREAD_UNKNOWN;
    atomic_store(&looker.asking, 1);
    if (!atomic_load(&looker.barred)) {
        int64_t until = now_ns() + PATIENCE_NS, left = PATIENCE_NS;
        enum ask asked = looker_ask(tid);
        int answer = 0;
        while (asked == ASK_PUT && (answer = atomic_load(&looker.answer)) >> 2 != tid && left > 0) {
            futex_wait(&looker.answer, answer, left, FUTEX_PRIVATE_FLAG);
            left = until - now_ns();
        }
        if (asked == ASK_IMPOSSIBLE)
            state = THREAD_SLEEPS;
        else if (answer >> 2 == tid)
            state = (enum thread_state)(answer & 3);
    }
    atomic_store(&looker.asking, 0);
    return state;
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
    looker.last = 0;
}
