/* The futex system call by number, as Rust, Go-like runtimes and C++'s atomic::wait use it. */
#include "check.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static uint32_t word, other;
static int woken;

/* The third number is the count for requeue operations, a timeout for the waiting ones. */
static long futex(uint32_t *address, int operation, uint32_t value, const void *timeout, uint32_t *second, uint32_t third)
{
    return syscall(SYS_futex, address, operation, value, timeout, second, third);
}

static const int privacy[] = { FUTEX_PRIVATE_FLAG, 0 };

static void *wait_on_word(void *argument)
{
    int operation = FUTEX_WAIT | (int)(intptr_t)argument;
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) {
        if (futex(&word, operation, 0, NULL, NULL, 0) == -1) {
            EXPECT(errno == EAGAIN || errno == EINTR);
        }
    }
    atomic_add(&woken, 1);
    return NULL;
}

static void changed_value_is_EAGAIN(void)
{
    struct timespec second = { 1, 0 };
    for (int p = 0; p < 2; p++) {
        word = 5;
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 4, NULL, NULL, 0), EAGAIN);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 4, &second, NULL, 0), EAGAIN);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT_BITSET | privacy[p], 4, NULL, NULL, 1), EAGAIN);
    }
}

static void wake_without_waiters_is_0(void)
{
    for (int p = 0; p < 2; p++) {
        EXPECT_EQ(futex(&word, FUTEX_WAKE | privacy[p], 1, NULL, NULL, 0), 0);
        EXPECT_EQ(futex(&word, FUTEX_WAKE | privacy[p], INT_MAX, NULL, NULL, 0), 0);
        EXPECT_EQ(futex(&word, FUTEX_WAKE_BITSET | privacy[p], 1, NULL, NULL, 2), 0);
    }
}

static void wake_wakes_the_waiting(void)
{
    for (int p = 0; p < 2; p++) {
        pthread_t threads[6];
        word = 0;
        atomic_set(&woken, 0);
        for (int i = 0; i < 6; i++) {
            threads[i] = start(wait_on_word, (void *)(intptr_t)privacy[p]);
        }
        let_others_block();
        EXPECT_EQ(atomic_get(&woken), 0);
        __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
        long count = futex(&word, FUTEX_WAKE | privacy[p], INT_MAX, NULL, NULL, 0);
        EXPECT(count >= 0 && count <= 6);
        for (int i = 0; i < 6; i++) {
            finish(threads[i]);
        }
        EXPECT_EQ(woken, 6);
    }
}

static void relative_timeouts(void)
{
    struct timespec duration = { 0, 25000000 }, zero = { 0, 0 }, invalid = { 0, 1000000000 }, negative = { -1, 0 };
    word = 0;
    for (int p = 0; p < 2; p++) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 0, &duration, NULL, 0), ETIMEDOUT);
        EXPECT(ms_since(began) >= 25);
        EXPECT(ms_since(began) < 15000);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 0, &zero, NULL, 0), ETIMEDOUT);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 0, &invalid, NULL, 0), EINVAL);
        EXPECT_ERRNO(futex(&word, FUTEX_WAIT | privacy[p], 0, &negative, NULL, 0), EINVAL);
    }
}

static void absolute_timeouts(void)
{
    clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME };
    word = 0;
    for (int p = 0; p < 2; p++) {
        for (int c = 0; c < 2; c++) {
            int operation = FUTEX_WAIT_BITSET | privacy[p] | (c ? FUTEX_CLOCK_REALTIME : 0);
            struct timespec deadline = ms_from_now(clocks[c], 25), past = ms_from_now(clocks[c], -1000);
            EXPECT_ERRNO(futex(&word, operation, 0, &deadline, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
            EXPECT(now_ns(clocks[c]) >= deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec);
            EXPECT_ERRNO(futex(&word, operation, 0, &past, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
            deadline.tv_nsec = -1;
            EXPECT_ERRNO(futex(&word, operation, 0, &deadline, NULL, FUTEX_BITSET_MATCH_ANY), EINVAL);
        }
    }
}

struct waiter {
    uint32_t bits;
    int order;
};

static int next_order;

/* Waits on the first word until it is woken there or on the word that it was moved to. */
static void *wait_with_bits(void *argument)
{
    struct waiter *waiter = argument;
    long result;
    do {
        result = waiter->bits ? futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, waiter->bits)
                              : futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    } while (result == -1 && errno == EINTR);
    EXPECT_EQ(result, 0);
    waiter->order = atomic_add(&next_order, 1);
    return NULL;
}

/* Starts a thread and moves it to the second word, which shows that it was waiting: the queue's order is known. */
static pthread_t start_queued(struct waiter *waiter)
{
    pthread_t thread = start(wait_with_bits, waiter);
    int tries = 0;
    while (futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &other, 0) != 1 && ++tries < 5000) {
        sleep_ms(1);
    }
    EXPECT(tries < 5000);
    return thread;
}

static void waiters_are_woken_first_in_first_out(void)
{
    struct waiter waiters[10] = { { 0, 0 } };
    pthread_t threads[10];
    word = 0;
    next_order = 0;
    for (int i = 0; i < 10; i++) {
        threads[i] = start_queued(&waiters[i]);
    }
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(futex(&other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
        finish(threads[i]);
        EXPECT_EQ(waiters[i].order, i + 1);
    }
    EXPECT_EQ(futex(&other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

static void bitsets_choose_whom_to_wake(void)
{
    struct waiter waiters[6];
    pthread_t threads[6];
    word = 0;
    next_order = 0;
    for (int i = 0; i < 6; i++) {
        waiters[i] = (struct waiter){ 1u << (i % 3), 0 };
        threads[i] = start_queued(&waiters[i]);
    }
    EXPECT_EQ(futex(&other, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, 8), 0);
    EXPECT_EQ(futex(&other, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, 2), 2);
    finish(threads[1]);
    finish(threads[4]);
    EXPECT_EQ(futex(&other, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 4 | 1), 1);
    finish(threads[0]);
    EXPECT_EQ(futex(&other, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 3);
    finish(threads[2]);
    finish(threads[3]);
    finish(threads[5]);
    EXPECT_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    EXPECT_ERRNO(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0), EINVAL);
}

static void requeue_moves_the_rest(void)
{
    struct waiter waiters[6] = { { 0, 0 } };
    pthread_t threads[6];
    uint32_t third = 0;
    word = 0;
    next_order = 0;
    for (int i = 0; i < 6; i++) {
        threads[i] = start_queued(&waiters[i]);
    }
    EXPECT_ERRNO(futex(&other, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &third, 77), EAGAIN);
    EXPECT_EQ(futex(&other, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &third, other), 3);
    finish(threads[0]);
    EXPECT_EQ(futex(&other, FUTEX_REQUEUE_PRIVATE, 0, (void *)(intptr_t)INT_MAX, &third, 0), 3);
    EXPECT_EQ(futex(&other, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 0);
    EXPECT_EQ(futex(&third, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    finish(threads[1]);
    finish(threads[2]);
    EXPECT_EQ(futex(&third, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 3);
    for (int i = 3; i < 6; i++) {
        finish(threads[i]);
    }
}

static void *wait_on_other(void *argument)
{
    (void)argument;
    while (futex(&other, FUTEX_WAIT_PRIVATE, 9, NULL, NULL, 0) == -1 && errno == EINTR) {
    }
    atomic_add(&woken, 1);
    return NULL;
}

/* Until a thread waits there, which can be moved away and back then. */
static void until_waited_on(uint32_t *at)
{
    uint32_t aside = 0;
    int tries = 0;
    while (futex(at, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &aside, 0) != 1 && ++tries < 5000) {
        sleep_ms(1);
    }
    EXPECT(tries < 5000);
    EXPECT_EQ(futex(&aside, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, at, 0), 1);
}

static void wake_op_changes_and_wakes_both(void)
{
    struct waiter first = { 0, 0 };
    uint32_t unused = 0;
    word = 0;
    other = 1;
    atomic_set(&woken, 0);
    /* No waiters: the operation is done, and the comparison is with the old value. */
    EXPECT_EQ(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_ADD, 8, FUTEX_OP_CMP_EQ, 1)), 0);
    EXPECT_EQ(other, 9);
    pthread_t waiting_on_other = start(wait_on_other, NULL);
    until_waited_on(&other);
    pthread_t waiting_on_word = start(wait_with_bits, &first);
    until_waited_on(&word);
    EXPECT_EQ(futex(&unused, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_OR, 6, FUTEX_OP_CMP_GT, 100)),
              0);
    EXPECT_EQ(other, 15);
    EXPECT_EQ(atomic_get(&woken), 0);
    futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_ANDN, 8, FUTEX_OP_CMP_EQ, 15));
    EXPECT_EQ(other, 7);
    finish(waiting_on_word);
    finish(waiting_on_other);
    futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_XOR, 5, FUTEX_OP_CMP_NE, 15));
    EXPECT_EQ(other, 2);
    futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_SET, 3, FUTEX_OP_CMP_LT, 15));
    EXPECT_EQ(other, 3);
    EXPECT_EQ(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other,
                    FUTEX_OP((FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_LE, 15)),
              0);
    EXPECT_EQ(other, 16);
}

static void bad_arguments(void)
{
    struct timespec *nowhere = (struct timespec *)16;
    word = 0;
    EXPECT_ERRNO(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    EXPECT_ERRNO(futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
    EXPECT_ERRNO(futex((uint32_t *)16, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    EXPECT_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, nowhere, NULL, 0), EFAULT);
    EXPECT_ERRNO(futex(&word, 99, 0, NULL, NULL, 0), ENOSYS);
    EXPECT_ERRNO(futex(&word, FUTEX_WAKE_PRIVATE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0), ENOSYS);
}

static void on_signal(int number)
{
    (void)number;
}

static void *wait_for_EINTR(void *argument)
{
    long result = futex(&word, FUTEX_WAIT_PRIVATE, 0, argument, NULL, 0);
    return (void *)(intptr_t)(result == -1 ? errno : 0);
}

static void handlers_interrupt_the_wait(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    struct timespec minute = { 60, 0 };
    sigaction(SIGUSR1, &action, NULL);
    word = 0;
    for (int timed = 0; timed < 2; timed++) {
        pthread_t thread = start(wait_for_EINTR, timed ? &minute : NULL);
        void *value = NULL;
        while (pthread_tryjoin_np(thread, &value) == EBUSY) {
            sleep_ms(2);
            pthread_kill(thread, SIGUSR1);
        }
        EXPECT_EQ((intptr_t)value, EINTR);
    }
}

static uint32_t *shared;

static int child_of_turns(void)
{
    for (uint32_t turn = 0; turn < 200; turn++) {
        while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != 2 * turn + 1) {
            futex(shared, FUTEX_WAIT, 2 * turn, NULL, NULL, 0);
        }
        __atomic_store_n(shared, 2 * turn + 2, __ATOMIC_SEQ_CST);
        futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    return 6;
}

static void *parent_of_turns(void *argument)
{
    for (uint32_t turn = 0; turn < 200; turn++) {
        __atomic_store_n(shared, 2 * turn + 1, __ATOMIC_SEQ_CST);
        futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
        while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != 2 * turn + 2) {
            futex(shared, FUTEX_WAIT, 2 * turn + 1, NULL, NULL, 0);
        }
    }
    return argument;
}

static void shared_words_work_between_processes(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(shared != MAP_FAILED);
    pthread_t thread = start(parent_of_turns, NULL);
    EXPECT_EXITS(child_run(child_of_turns), 6);
    finish(thread);
    munmap(shared, 4096);
}

static void *take_turns(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < 500; round++) {
        uint32_t now;
        while ((now = __atomic_load_n(&word, __ATOMIC_SEQ_CST)) % 2 != me) {
            futex(&word, round % 2 ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, now, &(struct timespec){ 0, 1000000 }, NULL, 0);
        }
        __atomic_add_fetch(&word, 1, __ATOMIC_SEQ_CST);
        futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0);
        futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

static void two_threads_take_turns(void)
{
    word = 0;
    pthread_t threads[2] = { start(take_turns, (void *)0), start(take_turns, (void *)1) };
    finish(threads[0]);
    finish(threads[1]);
    EXPECT_EQ(word, 1000);
}

static const struct check checks[] = {
    CHECK(changed_value_is_EAGAIN),
    CHECK(wake_without_waiters_is_0),
    CHECK(wake_wakes_the_waiting),
    CHECK(relative_timeouts),
    CHECK(absolute_timeouts),
    CHECK(waiters_are_woken_first_in_first_out),
    CHECK(bitsets_choose_whom_to_wake),
    CHECK(requeue_moves_the_rest),
    CHECK(wake_op_changes_and_wakes_both),
    CHECK(bad_arguments),
    CHECK(handlers_interrupt_the_wait),
    CHECK(shared_words_work_between_processes),
    CHECK(two_threads_take_turns),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
