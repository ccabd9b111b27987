/* System calls that no wrapper sees, and calls whose wait has no descriptor: others run meanwhile. */
#include "check.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* As an inlined system call stands in a program or a static library. */
static long inline_syscall(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    long result = syscall(number, a, b, c, d, e, f);
    return result == -1 ? -errno : result;
#endif
}

static int fds[2], polled[2];
static atomic_int word;

static void *inline_read(void *argument)
{
    char byte = 0;
    EXPECT_EQ(inline_syscall(SYS_read, fds[0], (long)&byte, 1, 0, 0, 0), 1);
    EXPECT_EQ(byte, 'x');
    return argument;
}

static void *inline_poll(void *argument)
{
    struct pollfd p = { polled[0], POLLIN, 0 };
    EXPECT_EQ(inline_syscall(SYS_ppoll, (long)&p, 1, 0, 0, 0, 0), 1);
    return argument;
}

static void *inline_futex(void *argument)
{
    while (atomic_load(&word) == 0) {
        inline_syscall(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    }
    return argument;
}

static void *inline_sleep(void *argument)
{
    struct timespec t = { 0, 20000000 };
    EXPECT_EQ(inline_syscall(SYS_nanosleep, (long)&t, 0, 0, 0, 0, 0), 0);
    return argument;
}

static void inline_system_calls(void)
{
    enum { EACH = 3 };
    pthread_t threads[4 * EACH];
    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(pipe(polled), 0);
    for (int i = 0; i < 4 * EACH; i++) {
        static void *(*const all[])(void *) = { inline_read, inline_poll, inline_futex, inline_sleep };
        threads[i] = start(all[i % 4], NULL);
    }
    sleep_ms(20);
    atomic_store(&word, 1);
    inline_syscall(SYS_futex, (long)&word, FUTEX_WAKE_PRIVATE, 100, 0, 0, 0);
    EXPECT_EQ(write(polled[1], "x", 1), 1);
    EXPECT_EQ(write(fds[1], "xxx", EACH), EACH);
    for (int i = 0; i < 4 * EACH; i++) {
        finish(threads[i]);
    }
    close(polled[0]);
    close(polled[1]);
    close(fds[0]);
    close(fds[1]);
}

/* ---- io_uring as liburing uses it: the ring is mapped, and entered inline ---- */

static void *write_later(void *argument)
{
    sleep_ms(20);
    EXPECT_EQ(write(fds[1], "u", 1), 1);
    return argument;
}

static void ring_read(int ring, const struct io_uring_params *p)
{
    size_t ring_size = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq_size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    char *map = mmap(NULL, ring_size > cq_size ? ring_size : cq_size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *sqe = mmap(NULL, p->sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    EXPECT(map != MAP_FAILED && (void *)sqe != MAP_FAILED);
    char byte = 0;
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_READ;
    sqe->fd = fds[0];
    sqe->addr = (unsigned long)&byte;
    sqe->len = 1;
    ((unsigned *)(map + p->sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(map + p->sq_off.tail), 1, __ATOMIC_RELEASE);
    pthread_t writer = start(write_later, NULL);
    EXPECT_EQ(inline_syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0), 1);
    struct io_uring_cqe *cqe = (struct io_uring_cqe *)(map + p->cq_off.cqes);
    EXPECT_EQ(cqe->res, 1);
    EXPECT_EQ(byte, 'u');
    finish(writer);
}

static void io_uring_entered_inline(void)
{
    struct io_uring_params p = { 0 };
    EXPECT_EQ(pipe(fds), 0);
    long ring = inline_syscall(SYS_io_uring_setup, 4, (long)&p, 0, 0, 0, 0);
    if (ring >= 0 && (p.features & IORING_FEAT_SINGLE_MMAP)) { /* sandboxes refuse it */
        ring_read((int)ring, &p);
        close((int)ring);
    }
    close(fds[0]);
    close(fds[1]);
}

/* ---- Calls that block without a descriptor to wait for ---- */

static char path[64];
static atomic_int order;

static void *lock_second(void *argument)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    EXPECT_EQ(atomic_load(&order), 1);
    close(fd);
    return argument;
}

static void flock_held_by_another_thread(void)
{
    pthread_t waiters[3];
    snprintf(path, sizeof path, "lock.%d", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    for (int i = 0; i < 3; i++) {
        waiters[i] = start(lock_second, NULL);
    }
    sleep_ms(20);
    atomic_store(&order, 1);
    EXPECT_EQ(flock(fd, LOCK_UN), 0);
    for (int i = 0; i < 3; i++) {
        finish(waiters[i]);
    }
    close(fd);
    unlink(path);
}

static void *open_to_read(void *argument)
{
    char byte = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    EXPECT(fd >= 0);
    EXPECT_EQ(read(fd, &byte, 1), 1);
    EXPECT_EQ(byte, 'f');
    close(fd);
    return argument;
}

static void fifo_opened_before_its_writer(void)
{
    snprintf(path, sizeof path, "fifo.%d", (int)getpid());
    EXPECT_EQ(mkfifo(path, 0600), 0);
    pthread_t reader = start(open_to_read, NULL);
    sleep_ms(20);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, "f", 1), 1);
    finish(reader);
    close(fd);
    unlink(path);
}

/* ---- Many at the same moment ---- */

static atomic_int blocked;
static pthread_barrier_t together;

static void *block_together(void *argument)
{
    char byte;
    pthread_barrier_wait(&together);
    atomic_fetch_add(&blocked, 1);
    EXPECT_EQ(inline_syscall(SYS_read, fds[0], (long)&byte, 1, 0, 0, 0), 1);
    return argument;
}

static void fifty_at_the_same_moment(void)
{
    pthread_t threads[50];
    char bytes[50] = { 0 };
    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(pthread_barrier_init(&together, NULL, 51), 0);
    for (int i = 0; i < 50; i++) {
        threads[i] = start(block_together, NULL);
    }
    pthread_barrier_wait(&together);
    while (atomic_load(&blocked) < 50) {
        sleep_ms(1);
    }
    EXPECT_EQ(write(fds[1], bytes, 50), 50);
    for (int i = 0; i < 50; i++) {
        finish(threads[i]);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Nobody burns a processor meanwhile. */
static void waiting_costs_nothing(void)
{
    const struct timespec half = { 0, 500000000 };
    int64_t before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    EXPECT_EQ(inline_syscall(SYS_nanosleep, (long)&half, 0, 0, 0, 0, 0), 0);
    EXPECT(now_ns(CLOCK_PROCESS_CPUTIME_ID) - before < 200000000);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(inline_system_calls),
        CHECK(io_uring_entered_inline),
        CHECK(flock_held_by_another_thread),
        CHECK(fifo_opened_before_its_writer),
        CHECK(fifty_at_the_same_moment),
        CHECK(waiting_costs_nothing),
    };
    return CHECKS_RUN(checks, argc, argv);
}
