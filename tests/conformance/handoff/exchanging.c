/*
 * Two threads that spin for each other, thousands of times, with calls in between: what costs nothing on two OS threads
 * must not cost the handoff time at each exchange.
 */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

enum { EXCHANGES = 4000, PATIENCE_MS = 30000 };

static atomic_int turn;
static int ends[2];
static int64_t began;

/* Where there is one processor, the other one must get it. */
static void spin_for(int value)
{
    for (unsigned tries = 1; atomic_load_explicit(&turn, memory_order_acquire) != value; tries++) {
        if (tries % 100000 == 0 && ms_since(began) > PATIENCE_MS) {
            return;
        }
    }
}

static void *exchange(void *argument)
{
    int me = *(int *)argument;
    char byte = 'x';
    for (int i = me; i < EXCHANGES; i += 2) {
        spin_for(i);
        EXPECT_EQ(write(ends[1], &byte, 1), 1);
        EXPECT_EQ(read(ends[0], &byte, 1), 1);
        atomic_store_explicit(&turn, i + 1, memory_order_release);
    }
    return argument;
}

static void run_both(void *(*function)(void *))
{
    int numbers[] = { 0, 1 };
    pthread_t threads[2];
    EXPECT_EQ(pipe(ends), 0);
    atomic_store(&turn, 0);
    began = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 2; i++) {
        threads[i] = start(function, &numbers[i]);
    }
    for (int i = 0; i < 2; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_load(&turn), EXCHANGES);
    close(ends[0]);
    close(ends[1]);
}

static void two_that_spin_for_each_other(void)
{
    run_both(exchange);
    EXPECT(ms_since(began) < PATIENCE_MS);
}

/* ---- What they do afterwards, wherever they run by now ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ready;
static atomic_int handled;

static void *say_ready(void *argument)
{
    pthread_mutex_lock(&lock);
    ready++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return argument;
}

static void make_a_thread_and_wait_for_both(void)
{
    pthread_t other = start(say_ready, NULL);
    pthread_mutex_lock(&lock);
    ready++;
    pthread_cond_broadcast(&changed);
    while (ready < 4) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    finish(other);
}

static void wait_for_time_and_data(void)
{
    int own[2];
    char byte = 'y';
    EXPECT_EQ(pipe(own), 0);
    struct pollfd p = { .fd = own[0], .events = POLLIN };
    EXPECT_EQ(poll(&p, 1, 20), 0);
    EXPECT_EQ(write(own[1], &byte, 1), 1);
    EXPECT_EQ(poll(&p, 1, -1), 1);
    EXPECT_EQ(read(own[0], &byte, 1), 1);
    sleep_ms(5);
    close(own[0]);
    close(own[1]);
}

static void on_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void *return_argument(void *argument)
{
    return argument;
}

static void fork_a_child_with_a_thread(void)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        finish(start(return_argument, NULL));
        sleep_ms(5);
        _exit(5);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EXITS(status, 5);
}

static void *exchange_and_go_on(void *argument)
{
    exchange(argument);
    make_a_thread_and_wait_for_both();
    wait_for_time_and_data();
    EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
    fork_a_child_with_a_thread();
    return argument;
}

static void they_go_on_as_others_do(void)
{
    signal(SIGUSR1, on_signal);
    run_both(exchange_and_go_on);
    EXPECT_EQ(ready, 4);
    EXPECT_EQ(atomic_load(&handled), 2);
}

/* The next ones begin where the last have left off. */
static void others_follow(void)
{
    for (int i = 0; i < 3; i++) {
        run_both(exchange);
    }
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(two_that_spin_for_each_other),
        CHECK(they_go_on_as_others_do),
        CHECK(others_follow),
    };
    return CHECKS_RUN(checks, argc, argv);
}
