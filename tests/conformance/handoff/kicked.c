/*
 * Signals for a thread that runs on another OS thread, round a handler that is taken away as soon as it has run, runs
 * once, or runs all the time: what libgreen sends itself to make the thread look never has the default action.
 */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum { ROUNDS = 60, SENDERS = 3, EACH = 400 };

static atomic_int busy, stop, handled;

/* Computes without a call, with one every now and then that gives up the processor or does not wait, or blocks in
 * the kernel where no wrapper sees it. */
static void *elsewhere(void *argument)
{
    sigset_t none;
    sigemptyset(&none);
    atomic_store(&busy, 1);
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        switch (i % 4) {
        case 0:
            sched_yield();
            break;
        case 1:
            pthread_sigmask(SIG_SETMASK, &none, NULL);
            break;
        case 2:
#if defined(__x86_64__)
        {
            struct timespec t = { 0, 200000 };
            long result;
            __asm__ volatile("syscall" : "=a"(result) : "a"(35), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
            break;
        }
#endif
        default:
            for (int k = 0; k < 20000 && !atomic_load_explicit(&stop, memory_order_relaxed); k++) {
            }
        }
    }
    return argument;
}

static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&handled, 1);
}

static pthread_t begin(void *(*function)(void *))
{
    atomic_store(&busy, 0);
    atomic_store(&stop, 0);
    atomic_store(&handled, 0);
    pthread_t t = start(function, NULL);
    while (!atomic_load(&busy)) {
        sched_yield();
    }
    return t;
}

static void wait_handled(int n)
{
    while (atomic_load(&handled) < n) {
        sched_yield();
    }
}

static void end(pthread_t t)
{
    atomic_store(&stop, 1);
    finish(t);
}

static void handler_taken_away(void)
{
    const int signals[] = { SIGUSR1, SIGTERM, SIGRTMIN + 11 };
    pthread_t t = begin(elsewhere);
    for (int i = 0; i < ROUNDS; i++) {
        int sig = signals[i % 3];
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = i % 2 ? SA_RESTART : 0 };
        EXPECT_EQ(sigaction(sig, &action, NULL), 0);
        EXPECT_EQ(pthread_kill(t, sig), 0);
        wait_handled(i + 1);
        EXPECT(signal(sig, SIG_DFL) == on_signal);
    }
    end(t);
    EXPECT_EQ(atomic_load(&handled), ROUNDS);
}

static void handler_that_runs_once(void)
{
    pthread_t t = begin(elsewhere);
    for (int i = 0; i < ROUNDS; i++) {
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND }, now;
        EXPECT_EQ(sigaction(SIGUSR2, &action, NULL), 0);
        EXPECT_EQ(sigaction(SIGUSR2, NULL, &now), 0);
        EXPECT(now.sa_handler == on_signal && now.sa_flags & (int)SA_RESETHAND);
        EXPECT_EQ(pthread_kill(t, SIGUSR2), 0);
        wait_handled(i + 1);
        EXPECT_EQ(sigaction(SIGUSR2, NULL, &now), 0);
        EXPECT(now.sa_handler == SIG_DFL);
    }
    end(t);
    EXPECT_EQ(atomic_load(&handled), ROUNDS);
}

static pthread_t target;
static atomic_long sum, sent;

static void on_number(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    atomic_fetch_add(&sum, info->si_value.sival_int);
    atomic_fetch_add(&handled, 1);
}

static void *send_numbers(void *argument)
{
    for (int i = 1; i <= EACH; i++) {
        union sigval value = { .sival_int = i };
        while (pthread_sigqueue(target, SIGRTMIN + 1 + i % 3, value)) {
            usleep(100); /* too many are queued */
        }
        atomic_fetch_add(&sent, i);
        if (i % 16 == 0) {
            usleep(50);
        }
    }
    return argument;
}

/* Real-time signals are queued: each runs its handler once, with its own value. */
static void each_runs_once(void)
{
    struct sigaction action = { .sa_sigaction = on_number, .sa_flags = SA_SIGINFO | SA_RESTART };
    pthread_t senders[SENDERS];
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(sigaction(SIGRTMIN + 1 + i, &action, NULL), 0);
    }
    target = begin(elsewhere);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = start(send_numbers, NULL);
    }
    for (int i = 0; i < SENDERS; i++) {
        finish(senders[i]);
    }
    for (int i = 0; i < 20000 && atomic_load(&handled) < SENDERS * EACH; i++) {
        sleep_ms(1);
    }
    end(target);
    EXPECT_EQ(atomic_load(&handled), SENDERS * EACH);
    EXPECT_EQ(atomic_load(&sum), atomic_load(&sent));
}

static void *send_and_wait(void *argument)
{
    for (int i = 0; i < EACH; i++) {
        int before = atomic_load(&handled);
        EXPECT_EQ(pthread_kill(target, SIGUSR1), 0);
        for (int n = 0; n < 5000 && atomic_load(&handled) == before; n++) {
            if (n < 50) {
                sched_yield();
            } else {
                usleep(1000);
            }
        }
        EXPECT(atomic_load(&handled) != before);
    }
    return argument;
}

/* Some of what several send at the same time may become one, but never none. */
static void none_is_lost(void)
{
    pthread_t senders[SENDERS];
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    target = begin(elsewhere);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = start(send_and_wait, NULL);
    }
    for (int i = 0; i < SENDERS; i++) {
        finish(senders[i]);
    }
    end(target);
    signal(SIGUSR1, SIG_DFL);
}

static void *wait_in_vain(void *argument)
{
    while (!atomic_load(&stop)) {
        usleep(500);
    }
    return argument;
}

/* What every thread blocks is pending as soon as it was sent, whoever polls meanwhile; what one of them
 * unblocks runs its handler once. */
static void what_all_block_is_pending(void)
{
    sigset_t one, old, pending;
    pthread_t threads[4];
    atomic_store(&stop, 0);
    atomic_store(&handled, 0);
    signal(SIGUSR1, on_signal);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, &old);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(wait_in_vain, NULL);
    }
    sleep_ms(2);
    int seen = 0;
    for (int i = 0; i < 300; i++) {
        EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        sigpending(&pending);
        seen += sigismember(&pending, SIGUSR1);
        if (i % 2) {
            int sig;
            EXPECT_EQ(sigwait(&one, &sig), 0);
        } else {
            pthread_sigmask(SIG_UNBLOCK, &one, NULL);
            pthread_sigmask(SIG_BLOCK, &one, NULL);
            usleep(i % 7 * 50);
        }
    }
    EXPECT_EQ(seen, 300);
    EXPECT_EQ(atomic_load(&handled), 150);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(handler_taken_away),
        CHECK(handler_that_runs_once),
        CHECK(each_runs_once),
        CHECK(none_is_lost),
        CHECK(what_all_block_is_pending),
    };
    return CHECKS_RUN(checks, argc, argv);
}
