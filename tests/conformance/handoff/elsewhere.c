/*
 * What happens to a thread that goes on alone on an OS thread of its own, because it computes or blocks in the kernel:
 * it can be cancelled, interrupted, joined and waited for, its deadlines hold, and its data is its own.
 */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int busy, stop, handled;
static pthread_t handled_by;
static __thread int mine;

/* Computes without a call until told to stop. */
static void compute(void)
{
    atomic_store(&busy, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    }
}

static void others_ran(void)
{
    while (!atomic_load(&busy)) {
        sleep_ms(1);
    }
    sleep_ms(25); /* the busy one has lost its hub by now, as a rule */
}

static void *compute_until_told(void *argument)
{
    mine = 77;
    errno = EXDEV;
    compute();
    EXPECT_EQ(errno, EXDEV);
    EXPECT_EQ(mine, 77);
    sleep_ms(1); /* comes back */
    EXPECT_EQ(mine, 77);
    return argument;
}

static void begin(void)
{
    atomic_store(&busy, 0);
    atomic_store(&stop, 0);
    atomic_store(&handled, 0);
}

static void joined(void)
{
    begin();
    pthread_t t = start(compute_until_told, &busy);
    others_ran();
    atomic_store(&stop, 1);
    EXPECT(finish(t) == &busy);
}

/* The first cancellation point after the cancellation ends it. */
static void *compute_then_test(void *argument)
{
    compute();
    pthread_testcancel();
    return argument;
}

static void cancelled(void)
{
    begin();
    pthread_t t = start(compute_then_test, NULL);
    others_ran();
    EXPECT_EQ(pthread_cancel(t), 0);
    atomic_store(&stop, 1);
    EXPECT(finish(t) == PTHREAD_CANCELED);
}

static void *compute_asynchronously(void *argument)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    compute();
    return argument;
}

static void cancelled_asynchronously(void)
{
    begin();
    pthread_t t = start(compute_asynchronously, NULL);
    others_ran();
    EXPECT_EQ(pthread_cancel(t), 0);
    EXPECT(finish(t) == PTHREAD_CANCELED);
}

static void on_signal(int sig)
{
    (void)sig;
    handled_by = pthread_self();
    atomic_store(&handled, 1);
    atomic_store(&stop, 1);
}

/* The handler runs at once, on the thread that computes, and ends its loop. */
static void interrupted_while_it_computes(void)
{
    begin();
    signal(SIGUSR1, on_signal);
    pthread_t t = start(compute_until_told, NULL);
    others_ran();
    EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
    finish(t);
    EXPECT_EQ(atomic_load(&handled), 1);
    EXPECT(pthread_equal(handled_by, t));
}

static void *sleep_in_the_kernel(void *argument)
{
    struct timespec left = { 5, 0 };
    atomic_store(&busy, 1);
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_nanosleep), "D"(&left), "S"(&left)
                     : "rcx", "r11", "memory");
#else
    long result = nanosleep(&left, &left) ? -errno : 0;
#endif
    EXPECT_EQ(result, -EINTR);
    return argument;
}

static void interrupted_in_the_kernel(void)
{
    begin();
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGUSR1, &action, NULL);
    pthread_t t = start(sleep_in_the_kernel, NULL);
    others_ran();
    EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
    finish(t);
    EXPECT(pthread_equal(handled_by, t));
}

/* ---- Deadlines ---- */

static sem_t never;

static void *time_out(void *argument)
{
    struct timespec until = ms_from_now(CLOCK_REALTIME, 15);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_ERRNO(sem_timedwait(&never, &until), ETIMEDOUT);
    EXPECT(now_ns(CLOCK_MONOTONIC) - began >= 14000000);
    atomic_fetch_add((atomic_int *)argument, 1);
    return argument;
}

/* They come while somebody computes, one after another. */
static void deadlines_pass_beside_a_computation(void)
{
    atomic_int over = 0;
    pthread_t sleepers[10];
    begin();
    sem_init(&never, 0, 0);
    for (int i = 0; i < 10; i++) {
        sleepers[i] = start(time_out, &over);
    }
    pthread_t t = start(compute_until_told, NULL);
    while (atomic_load(&over) < 10) {
        sleep_ms(2);
    }
    atomic_store(&stop, 1);
    finish(t);
    for (int i = 0; i < 10; i++) {
        finish(sleepers[i]);
    }
}

/* A computation beyond its own deadline, in a lock's wait that follows it. */
static void *compute_and_time_out(void *argument)
{
    struct timespec until = ms_from_now(CLOCK_REALTIME, 5);
    compute();
    EXPECT_ERRNO(sem_timedwait(&never, &until), ETIMEDOUT);
    return argument;
}

static void own_deadline_passes_meanwhile(void)
{
    begin();
    pthread_t t = start(compute_and_time_out, NULL);
    others_ran();
    atomic_store(&stop, 1);
    finish(t);
}

/* ---- Threads that end, and others that get their memory ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int generation;

static void *wait_a_moment(void *argument)
{
    struct timespec until = ms_from_now(CLOCK_REALTIME, 1);
    pthread_mutex_lock(&lock);
    int seen = generation;
    while (generation == seen && pthread_cond_timedwait(&changed, &lock, &until) == 0) {
    }
    pthread_mutex_unlock(&lock);
    return argument;
}

static void *wake_all(void *argument)
{
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(&lock);
        generation++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
    return argument;
}

/* Wakes that come late meet the next thread on the same memory, and do it no harm: whoever sleeps, sleeps. */
static void *sleep_exactly(void *argument)
{
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_EQ(usleep(1500), 0);
    EXPECT(now_ns(CLOCK_MONOTONIC) - began >= 1500000);
    return argument;
}

static void late_wakes_harm_nobody(void)
{
    begin();
    pthread_t waker = start(wake_all, NULL);
    for (int round = 0; round < 60; round++) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) {
            threads[i] = start(i % 2 ? wait_a_moment : sleep_exactly, NULL);
        }
        for (int i = 0; i < 8; i++) {
            finish(threads[i]);
        }
    }
    atomic_store(&stop, 1);
    finish(waker);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(joined),
        CHECK(cancelled),
        CHECK(cancelled_asynchronously),
        CHECK(interrupted_while_it_computes),
        CHECK(interrupted_in_the_kernel),
        CHECK(deadlines_pass_beside_a_computation),
        CHECK(own_deadline_passes_meanwhile),
        CHECK(late_wakes_harm_nobody),
    };
    return CHECKS_RUN(checks, argc, argv);
}
