/* The scheduler by itself: parking, waking, order, deadlines, descriptors. libgreen's code is linked in and
 * its wrappers interpose nothing, so that a thread here is what green_new() makes.
 *
 * Criterion runs each test in a process of its own, where the runtime starts anew. */
#include <criterion/criterion.h>
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coro/libc.h"
#include "hub/hub.h"
#include "hub/internal.h"

enum { TASKS_MAX = 256, SECOND = 1000000000 };

/* What a task is beyond its green thread. */
struct hub_task {
    struct green green;
    void (*run)(long);
    long arg;
};

static struct hub_task main_task;
static _Atomic long ended;

/* AddressSanitizer asks for the stack of who calls a function that does not return, and keeps what it
 * noted about a stack that was left for good. */
#if defined(__SANITIZE_ADDRESS__)
void __asan_unpoison_memory_region(void const volatile *start, size_t size);

int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)
{
    struct green *g = self_green();
    struct coro_stack s;
    if (g && g != &main_task.green && (uintptr_t)thread == libc_self(g->coro.tp)) {
        coro_stack_of(&g->coro, &s);
        pthread_attr_init(attr);
        return pthread_attr_setstack(attr, s.low, s.size);
    }
    int (*real)(pthread_t, pthread_attr_t *);
    void *f = dlsym(RTLD_NEXT, "pthread_getattr_np");
    memcpy(&real, &f, sizeof f);
    return real(thread, attr);
}
#else
#define __asan_unpoison_memory_region(start, size) ((void)(start), (void)(size))
#endif

static bool task_released(struct green *g)
{
    struct coro_stack s;
    coro_stack_of(&g->coro, &s);
    __asan_unpoison_memory_region(s.low, s.size);
    atomic_fetch_add(&ended, 1);
    return true;
}

static void task_entry(struct green *g)
{
    struct hub_task *t = (struct hub_task *)g;
    libc_thread_begin();
    t->run(t->arg);
    libc_thread_end();
    green_end(task_released);
}

static struct green *task_launch(void (*run)(long), long arg)
{
    const struct coro_attr attr = {256 * 1024, 4096, NULL};
    struct green *g = green_new(&attr, task_entry);
    cr_assert_not_null(g);
    struct hub_task *t = (struct hub_task *)g;
    t->run = run;
    t->arg = arg;
    green_launch(g);
    return g;
}

static int64_t in_ms(int64_t ms)
{
    return deadline_after(ms * 1000000);
}

/* Until so many tasks have ended, for ten seconds at most. */
static void tasks_await(long n)
{
    int64_t limit = in_ms(10000);
    while (atomic_load(&ended) < n && clock_now() < limit)
        sleep_until(in_ms(1), 0);
    cr_assert_eq(atomic_load(&ended), n);
}

/* No carriers: one, under --strict. */
static void hub_begin(unsigned carriers)
{
    const char *why = coro_start();
    cr_assert_null(why, "%s", why);
    const struct hub_settings settings = {.carriers = carriers,
                                          .strict = carriers == 0,
                                          .handoff = 10000000,
                                          .max_carriers = 64,
                                          .offload_threads = 2};
    cr_assert_eq(hub_start(&main_task.green, sizeof main_task, &settings), 0);
}

/* ---- Order ---- */

static int key, other_key;
static long order[TASKS_MAX];
static _Atomic long count;

static void note(long i)
{
    order[atomic_fetch_add(&count, 1)] = i;
}

static void order_is(long first, long n)
{
    cr_assert_eq(atomic_load(&count), n);
    for (long i = 0; i < n; i++)
        cr_expect_eq(order[i], first + i, "place %ld is %ld's", i, order[i]);
}

static void wait_and_note(long i)
{
    cr_expect_eq(wait_on(WAIT_COND, &key, WAIT_ANY_BITS, NULL, NULL, DEADLINE_NEVER, 0), WAIT_WOKEN);
    note(i);
}

Test(hub, waiters_are_woken_in_the_order_in_which_they_came)
{
    hub_begin(1);
    for (long i = 0; i < 8; i++)
        task_launch(wait_and_note, i);
    sleep_until(in_ms(5), 0);
    cr_expect_eq(wake(WAIT_COND, &other_key, 8, WAIT_ANY_BITS), 0);
    cr_expect_eq(wake(WAIT_COND, &key, 3, WAIT_ANY_BITS), 3);
    green_yield();
    order_is(0, 3);
    cr_expect_eq(wake(WAIT_COND, &key, SIZE_MAX, WAIT_ANY_BITS), 5);
    tasks_await(8);
    order_is(0, 8);
}

static void wait_with_bits(long i)
{
    wait_on(WAIT_FUTEX, &key, 1U << i, NULL, NULL, DEADLINE_NEVER, 0);
    note(i);
}

Test(hub, a_wake_with_bits_passes_the_others_by)
{
    hub_begin(1);
    for (long i = 0; i < 4; i++)
        task_launch(wait_with_bits, i);
    sleep_until(in_ms(5), 0);
    cr_expect_eq(wake(WAIT_FUTEX, &key, 4, 1U << 2), 1);
    sleep_until(in_ms(1), 0);
    cr_expect_eq(order[0], 2);
    cr_expect_eq(wake(WAIT_FUTEX, &key, 4, WAIT_ANY_BITS), 3);
    tasks_await(4);
}

static void wait_for_other(long i)
{
    wait_on(WAIT_FUTEX, &other_key, WAIT_ANY_BITS, NULL, NULL, DEADLINE_NEVER, 0);
    note(i);
}

static void wait_for_key(long i)
{
    wait_on(WAIT_FUTEX, &key, WAIT_ANY_BITS, NULL, NULL, DEADLINE_NEVER, 0);
    note(i);
}

Test(hub, requeued_waiters_stand_behind_those_who_were_there)
{
    size_t moved = 0;
    hub_begin(1);
    task_launch(wait_for_other, 0);
    sleep_until(in_ms(2), 0);
    for (long i = 1; i < 6; i++)
        task_launch(wait_for_key, i);
    sleep_until(in_ms(5), 0);
    cr_expect_eq(wait_requeue(WAIT_FUTEX, &key, 0, &other_key, 3, NULL, NULL, &moved), 0);
    cr_expect_eq(moved, 3);
    cr_expect_eq(wake(WAIT_FUTEX, &other_key, 10, WAIT_ANY_BITS), 4);
    sleep_until(in_ms(1), 0);
    order_is(0, 4);
    cr_expect_eq(wake(WAIT_FUTEX, &key, 10, WAIT_ANY_BITS), 2);
    tasks_await(6);
    order_is(0, 6);
}

/* Times out again and again; who came after it and waits without a limit must not be preferred for ever. */
static void wait_in_slices(long i)
{
    while (wait_on(WAIT_COND, &key, WAIT_ANY_BITS, NULL, NULL, in_ms(1), 0) == WAIT_TIMED_OUT)
        ;
    note(i);
}

Test(hub, who_waits_again_after_a_time_out_keeps_its_place)
{
    hub_begin(0);
    task_launch(wait_in_slices, 0);
    sleep_until(in_ms(3), 0);
    for (long i = 1; i < 4; i++)
        task_launch(wait_and_note, i);
    sleep_until(in_ms(10), 0);
    cr_expect_eq(wake(WAIT_COND, &key, 1, WAIT_ANY_BITS), 1);
    sleep_until(in_ms(2), 0);
    cr_expect_eq(atomic_load(&count), 1);
    cr_expect_eq(order[0], 0);
    while (atomic_load(&ended) < 4) {
        wake(WAIT_COND, &key, 1, WAIT_ANY_BITS);
        sleep_until(in_ms(1), 0);
    }
}

/* ---- Deadlines ---- */

static int64_t base;

static void sleep_and_note(long i)
{
    /* A permutation of 0..63: neither rising nor falling. */
    int64_t at = base + (i * 29 % 64) * 500000;
    cr_expect_eq(sleep_until(at, 0), WAIT_TIMED_OUT);
    cr_expect_geq(clock_now(), at);
    note(i * 29 % 64);
}

Test(hub, deadlines_pass_in_order)
{
    hub_begin(1);
    base = in_ms(50);
    for (long i = 0; i < 64; i++)
        task_launch(sleep_and_note, i);
    tasks_await(64);
    order_is(0, 64);
}

static void wait_or_time_out(long i)
{
    int64_t until = in_ms(2 + i % 3);
    enum wait_result r = wait_on(WAIT_SEM, &key, WAIT_ANY_BITS, NULL, NULL, until, 0);
    cr_expect(r == WAIT_TIMED_OUT || r == WAIT_WOKEN);
    cr_expect(r == WAIT_WOKEN || clock_now() >= until);
    if (r == WAIT_WOKEN)
        atomic_fetch_add(&count, 1);
}

/* A wake is consumed or it finds nobody: it is never counted and lost. */
Test(hub, wakes_and_time_outs_add_up)
{
    long woken = 0;
    hub_begin(2);
    for (long i = 0; i < 100; i++)
        task_launch(wait_or_time_out, i);
    while (atomic_load(&ended) < 100) {
        woken += (long)wake(WAIT_SEM, &key, 1, WAIT_ANY_BITS);
        sleep_until(deadline_after(100000), 0);
    }
    cr_expect_eq(atomic_load(&count), woken);
}

/* ---- Races ---- */

static _Atomic long tokens;

static bool token_taken(void *unused)
{
    (void)unused;
    long n = atomic_load(&tokens);
    while (n > 0)
        if (atomic_compare_exchange_weak(&tokens, &n, n - 1))
            return true;
    return false;
}

enum { ROUNDS = 3000 };

static void consume(long unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++)
        while (wait_on(WAIT_SEM, &tokens, WAIT_ANY_BITS, token_taken, NULL, DEADLINE_NEVER, 0) !=
               WAIT_NOT_NEEDED)
            ;
}

static void produce(long unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&tokens, 1);
        wake(WAIT_SEM, &tokens, 1, WAIT_ANY_BITS);
        if (i % 64 == 0)
            green_yield();
    }
}

static void tokens_pass(unsigned carriers)
{
    hub_begin(carriers);
    for (int i = 0; i < 4; i++) {
        task_launch(consume, 0);
        task_launch(produce, 0);
    }
    tasks_await(8);
    cr_expect_eq(atomic_load(&tokens), 0);
}

Test(hub, no_wake_is_lost_on_one_carrier)
{
    tokens_pass(1);
}

Test(hub, no_wake_is_lost_under_strict)
{
    tokens_pass(0);
}

Test(hub, no_wake_is_lost_among_four_carriers)
{
    tokens_pass(4);
}

/* The same with foreign OS threads on both sides. */
static void *foreign_consumer(void *unused)
{
    consume(0);
    return unused;
}

static void *foreign_producer(void *unused)
{
    produce(0);
    return unused;
}

Test(hub, foreign_threads_wait_and_wake)
{
    pthread_t threads[2];
    hub_begin(2);
    task_launch(consume, 0);
    task_launch(produce, 0);
    pthread_create(&threads[0], NULL, foreign_consumer, NULL);
    pthread_create(&threads[1], NULL, foreign_producer, NULL);
    tasks_await(2);
    call_begin();
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    call_end();
    cr_expect_eq(atomic_load(&tokens), 0);
}

/* ---- Handoff ---- */

static _Atomic long turns;

static void take_turns(long n)
{
    for (long i = 0; i < n; i++) {
        atomic_fetch_add(&turns, 1);
        sleep_until(in_ms(1), 0);
    }
}

Test(hub, a_call_that_blocks_hands_off)
{
    struct hub_stats stats;
    hub_begin(1);
    task_launch(take_turns, 5);
    green_yield();
    call_begin();
    call_begin(); /* they nest */
    call_end();
    while (atomic_load(&turns) < 5)
        usleep(1000);
    call_end();
    tasks_await(1);
    hub_stats(&stats);
    cr_expect_geq(stats.handoffs, 1);
    cr_expect_geq(stats.rejoins, 1);
}

Test(hub, a_thread_that_computes_loses_its_hub)
{
    struct hub_stats stats;
    hub_begin(1);
    task_launch(take_turns, 5);
    green_yield();
    while (atomic_load_explicit(&turns, memory_order_relaxed) < 5)
        ;
    green_yield();
    tasks_await(1);
    hub_stats(&stats);
    cr_expect_geq(stats.detaches, 1);
    cr_expect_geq(stats.rejoins, 1);
}

static long offloaded(void *arg)
{
    long errno_before = errno;
    errno = EDOM;
    return errno_before + *(long *)arg;
}

Test(hub, offload_brings_the_result_and_errno)
{
    long seven = 7;
    hub_begin(1);
    errno = 100;
    cr_expect_eq(offload(offloaded, &seven, 0), 107);
    cr_expect_eq(errno, EDOM);
}

/* ---- Descriptors ---- */

static int fds[2];

static void wait_for_reading(long expected)
{
    int fd = fds[0];
    char byte = 0;
    cr_expect_eq(io_wait(&fd, IO_READ, in_ms(10000), 0), WAIT_WOKEN);
    cr_expect_eq(read(fd, &byte, 1), expected);
    io_wait_done(fd, fds[0]);
}

static void read_after_wait(unsigned carriers, long n)
{
    hub_begin(carriers);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fd_opened(fds[0], FD_SOCKET, FD_STREAM);
    for (long i = 0; i < n; i++)
        task_launch(wait_for_reading, 1);
    sleep_until(in_ms(10), 0);
    for (long i = 0; i < n; i++)
        cr_assert_eq(write(fds[1], "x", 1), 1);
    tasks_await(n);
}

Test(hub, a_byte_each_wakes_its_reader)
{
    read_after_wait(1, 4);
}

/* The waiter's number is closed by a thread on another carrier: it goes on with the description. */
static void close_under_waiter(unsigned carriers)
{
    hub_begin(carriers);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fd_opened(fds[0], FD_SOCKET, FD_STREAM);
    for (int i = 0; i < 4; i++)
        task_launch(wait_for_reading, 1); /* round the carriers */
    sleep_until(in_ms(10), 0);
    fd_closing(fds[0]);
    close(fds[0]);
    sleep_until(in_ms(5), 0);
    cr_expect_eq(atomic_load(&ended), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(write(fds[1], "x", 1), 1);
    tasks_await(4);
}

Test(hub, a_closed_descriptor_stays_with_its_waiters)
{
    close_under_waiter(1);
}

Test(hub, a_descriptor_closed_from_another_carrier_stays_with_its_waiters)
{
    close_under_waiter(3);
}

static void time_out_reading(long unused)
{
    (void)unused;
    int fd = fds[0];
    int64_t until = in_ms(5);
    cr_expect_eq(io_wait(&fd, IO_READ, until, 0), WAIT_TIMED_OUT);
    cr_expect_geq(clock_now(), until);
}

Test(hub, a_wait_for_a_descriptor_times_out)
{
    hub_begin(1);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    fd_opened(fds[0], FD_PIPE, FD_STREAM);
    task_launch(time_out_reading, 0);
    tasks_await(1);
}

/* ---- Hubs that share their work ---- */

static _Atomic long moved;

static void sleep_and_be_moved(long unused)
{
    (void)unused;
    struct hub *first = self_green()->hub;
    int64_t until = in_ms(100);
    cr_expect_eq(sleep_until(until, 0), WAIT_TIMED_OUT);
    cr_expect_geq(clock_now(), until);
    if (self_green()->hub != first)
        atomic_fetch_add(&moved, 1);
}

/* A wake that comes late makes a waiter runnable for a turn, in which it may be given to another hub. */
Test(hub, a_deadline_goes_along_to_another_hub)
{
    enum { SLEEPERS = 32 };
    struct green *sleeper[SLEEPERS];
    hub_begin(2);
    for (int i = 0; i < SLEEPERS; i++)
        sleeper[i] = task_launch(sleep_and_be_moved, 0);
    for (int64_t until = in_ms(50); clock_now() < until; green_yield())
        for (int i = 0; i < SLEEPERS; i++)
            if (sleeper[i]->hub == self_green()->hub)
                unpark(sleeper[i]);
    tasks_await(SLEEPERS);
    cr_assert_gt(atomic_load(&moved), 0, "nobody was moved: this test shows nothing");
}

/* ---- Memory that is used again ---- */

static struct green *last;

static void end_at_once(long unused)
{
    (void)unused;
}

static void sleep_exactly(long unused)
{
    (void)unused;
    int64_t until = in_ms(20);
    cr_expect_eq(sleep_until(until, 0), WAIT_TIMED_OUT);
    cr_expect_geq(clock_now(), until);
}

/* Wakes and interrupts for a thread that is gone meet the next one on the same memory, which must not care. */
Test(hub, late_wakes_are_harmless)
{
    hub_begin(1);
    last = task_launch(end_at_once, 0);
    tasks_await(1);
    struct green *next = task_launch(sleep_exactly, 0);
    cr_assert_eq(next, last, "the memory was not used again: this test shows nothing");
    for (int i = 0; i < 10; i++) {
        sleep_until(in_ms(1), 0);
        green_interrupt(last, INTERRUPT_SIGNAL);
    }
    tasks_await(2);
}
