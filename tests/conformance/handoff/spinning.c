/*
 * Threads that never call anything while they wait for another one: flags, spin locks of the program's own, loops
 * round calls that do not wait. Each ends, because the others get to run.
 */
#include "check.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

static void cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static atomic_int flag, turn;

static void *set_after_sleep(void *argument)
{
    sleep_ms(5);
    atomic_store(&flag, 1);
    return argument;
}

static void flag_of_another_thread(void)
{
    atomic_store(&flag, 0);
    pthread_t setter = start(set_after_sleep, NULL);
    while (!atomic_load_explicit(&flag, memory_order_acquire)) {
    }
    finish(setter);
}

static void flag_of_another_thread_round_the_clock(void)
{
    atomic_store(&flag, 0);
    pthread_t setter = start(set_after_sleep, NULL);
    struct timespec now;
    while (!atomic_load(&flag)) {
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    finish(setter);
}

static void *spin_for_flag(void *argument)
{
    while (!atomic_load_explicit(&flag, memory_order_acquire)) {
        cpu_pause();
    }
    return argument;
}

static void several_spin_for_one_flag(void)
{
    pthread_t spinners[3];
    atomic_store(&flag, 0);
    for (int i = 0; i < 3; i++) {
        spinners[i] = start(spin_for_flag, NULL);
    }
    sleep_ms(20);
    atomic_store(&flag, 1);
    for (int i = 0; i < 3; i++) {
        finish(spinners[i]);
    }
}

/* Two threads that pass a word to and fro by spinning alone. */
static void *answer(void *argument)
{
    for (int i = 0; i < 20; i++) {
        while (atomic_load(&turn) != 2 * i + 1) {
            cpu_pause();
        }
        atomic_store(&turn, 2 * i + 2);
    }
    return argument;
}

static void spinners_take_turns(void)
{
    atomic_store(&turn, 0);
    pthread_t other = start(answer, NULL);
    for (int i = 0; i < 20; i++) {
        atomic_store(&turn, 2 * i + 1);
        while (atomic_load(&turn) != 2 * i + 2) {
            cpu_pause();
        }
    }
    finish(other);
}

/* ---- A spin lock of the program's own ---- */

static atomic_flag lock = ATOMIC_FLAG_INIT;
static long guarded, copied;

static void lock_take(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
        cpu_pause();
    }
}

static void *count_under_lock(void *argument)
{
    for (int i = 0; i < 40; i++) {
        lock_take();
        EXPECT_EQ(guarded, copied);
        guarded++;
        if (i % 20 == 0) {
            sleep_ms(1); /* a holder that waits */
        } else if (i % 7 == 0) {
            sched_yield();
        }
        copied++;
        atomic_flag_clear_explicit(&lock, memory_order_release);
        if (i % 5 == 0) {
            sched_yield();
        }
    }
    return argument;
}

static void spin_lock_of_the_program(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = start(count_under_lock, NULL);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(guarded, 160);
}

/* ---- A computation beside others ---- */

static atomic_bool computed;
static atomic_int ticks;

static void *compute(void *argument)
{
    /* A busy machine may keep the others from running for longer than that. */
    int64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID), took;
    volatile unsigned long x = 1;
    do {
        for (int i = 0; i < 10000; i++) {
            x = x * 6364136223846793005UL + 1;
        }
        took = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
    } while (took < 200000000 || (atomic_load(&ticks) <= 3 && took < 10000000000));
    atomic_store(&computed, true);
    return argument;
}

static void *tick(void *argument)
{
    while (!atomic_load(&computed)) {
        sleep_ms(1);
        atomic_fetch_add(&ticks, 1);
    }
    return argument;
}

static void others_run_beside_a_computation(void)
{
    pthread_t ticker = start(tick, NULL);
    pthread_t computer = start(compute, NULL);
    finish(computer);
    finish(ticker);
    EXPECT(atomic_load(&ticks) > 3);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(flag_of_another_thread),
        CHECK(flag_of_another_thread_round_the_clock),
        CHECK(several_spin_for_one_flag),
        CHECK(spinners_take_turns),
        CHECK(spin_lock_of_the_program),
        CHECK(others_run_beside_a_computation),
    };
    return CHECKS_RUN(checks, argc, argv);
}
