/* Signal masks belong to threads: inherited, changed, restored by jumps; what is blocked stays pending. */
#include "check.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>

static __thread volatile int own;
static int handled;

static void on_signal(int number)
{
    own = number;
    atomic_add(&handled, 1);
}

static void handle(int number)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static sigset_t set_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    return set;
}

static int is_blocked(int number)
{
    sigset_t now;
    EXPECT_EQ(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
    return sigismember(&now, number);
}

static int is_pending(int number)
{
    sigset_t now;
    EXPECT_EQ(sigpending(&now), 0);
    return sigismember(&now, number);
}

static void *change_mask(void *argument)
{
    int mine = SIGRTMIN + (int)(intptr_t)argument;
    sigset_t set = set_of(mine), old;
    EXPECT_EQ(is_blocked(SIGUSR2), 1);
    EXPECT_EQ(is_blocked(mine), 0);
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    EXPECT_EQ(sigismember(&old, mine), 0);
    for (int i = 0; i < 20; i++) {
        if (i % 5 == 0) {
            sleep_ms(1);
        } else {
            sched_yield();
        }
        EXPECT_EQ(is_blocked(mine), 1);
        EXPECT_EQ(is_blocked(mine + 1), 0);
        EXPECT_EQ(is_blocked(SIGUSR2), 1);
    }
    EXPECT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, &old), 0);
    EXPECT_EQ(sigismember(&old, mine), 1);
    EXPECT_EQ(is_blocked(mine), 0);
    sigfillset(&set);
    EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
    EXPECT_EQ(is_blocked(SIGKILL), 0);
    EXPECT_EQ(is_blocked(SIGSTOP), 0);
    EXPECT_EQ(is_blocked(SIGTERM), 1);
    sched_yield();
    EXPECT_EQ(is_blocked(SIGTERM), 1);
    EXPECT_EQ(pthread_sigmask(99, &set, NULL), EINVAL);
    EXPECT_EQ(pthread_sigmask(99, NULL, &old), 0);
    return NULL;
}

static void masks_are_inherited_and_then_one_s_own(void)
{
    pthread_t threads[8];
    sigset_t set = set_of(SIGUSR2);
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    for (intptr_t i = 0; i < 8; i++) {
        threads[i] = start(change_mask, (void *)(i * 2));
    }
    for (int i = 0; i < 8; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(is_blocked(SIGUSR2), 1);
    EXPECT_EQ(is_blocked(SIGRTMIN), 0);
    EXPECT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
}

static void *block_raise_unblock(void *argument)
{
    sigset_t set = set_of(SIGUSR1);
    for (int i = 0; i < 10; i++) {
        own = 0;
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        raise(SIGUSR1);
        raise(SIGUSR1);
        EXPECT_EQ(own, 0);
        EXPECT_EQ(is_pending(SIGUSR1), 1);
        sched_yield();
        EXPECT_EQ(own, 0);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        EXPECT_EQ(own, SIGUSR1);
        EXPECT_EQ(is_pending(SIGUSR1), 0);
    }
    return argument;
}

static void pending_signals_come_when_unblocked(void)
{
    pthread_t threads[5];
    handle(SIGUSR1);
    atomic_set(&handled, 0);
    block_raise_unblock(NULL);
    EXPECT_EQ(atomic_get(&handled), 10);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(block_raise_unblock, NULL);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_get(&handled), 60);
}

/* No handler was ever there: what the process dies of is the signal as it is let in. */
static void *unblock_a_default(void *argument)
{
    sigset_t set = set_of(SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_kill(pthread_self(), SIGTERM);
    sched_yield();
    EXPECT_EQ(is_pending(SIGTERM), 1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return argument;
}

static int die_unblocked(void)
{
    finish(start(unblock_a_default, NULL));
    return 1;
}

/* What is ignored, or has an action that does nothing, is gone as it is let in. */
static void *unblock_for_nothing(void *argument)
{
    static const int numbers[] = {SIGURG, SIGHUP};
    struct timespec wait = {0, 1000000};
    signal(SIGHUP, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        sigset_t set = set_of(numbers[i]), none;
        sigemptyset(&none);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        pthread_kill(pthread_self(), numbers[i]);
        EXPECT_EQ(ppoll(NULL, 0, &wait, &none), 0);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        EXPECT_EQ(is_pending(numbers[i]), 0);
    }
    signal(SIGHUP, SIG_DFL);
    return argument;
}

static void pending_signals_without_a_handler(void)
{
    EXPECT_KILLED(child_run(die_unblocked), SIGTERM);
    finish(start(unblock_for_nothing, NULL));
}

static sem_t entered, leave;

static void *wait_unblocked(void *argument)
{
    sigset_t set = set_of(SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    sem_post(&entered);
    while (sem_wait(&leave) == -1) {
    }
    (void)argument;
    return (void *)(intptr_t)own;
}

static void *wait_blocked(void *argument)
{
    sem_post(&entered);
    while (sem_wait(&leave) == -1) {
    }
    (void)argument;
    return (void *)(intptr_t)own;
}

static void process_s_signal_finds_the_thread_that_takes_it(void)
{
    pthread_t threads[6];
    sigset_t set = set_of(SIGUSR1);
    handle(SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int round = 0; round < 6; round++) {
        sem_init(&entered, 0, 0);
        sem_init(&leave, 0, 0);
        atomic_set(&handled, 0);
        for (int i = 0; i < 6; i++) {
            threads[i] = start(i == round ? wait_unblocked : wait_blocked, NULL);
        }
        for (int i = 0; i < 6; i++) {
            sem_wait(&entered);
        }
        EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        EXPECT(wait_for_value(&handled, 1));
        for (int i = 0; i < 6; i++) {
            sem_post(&leave);
        }
        for (int i = 0; i < 6; i++) {
            EXPECT_EQ((intptr_t)finish(threads[i]), i == round ? SIGUSR1 : 0);
        }
    }
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *look_at_pending(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)(is_pending(SIGUSR1) * 10 + is_pending(SIGUSR2));
}

static void pending_of_thread_and_of_process_differ(void)
{
    sigset_t set = set_of(SIGUSR1);
    sigaddset(&set, SIGUSR2);
    handle(SIGUSR1);
    handle(SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    atomic_set(&handled, 0);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    EXPECT_EQ((intptr_t)look_at_pending(NULL), 11);
    EXPECT_EQ((intptr_t)finish(start(look_at_pending, NULL)), 1);
    EXPECT_EQ(atomic_get(&handled), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    EXPECT_EQ(atomic_get(&handled), 2);
}

static void *unblock_here(void *argument)
{
    sigset_t set = set_of(SIGUSR2);
    own = 0;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)argument;
    return (void *)(intptr_t)own;
}

static void process_s_pending_signal_goes_to_who_unblocks_first(void)
{
    sigset_t set = set_of(SIGUSR2);
    handle(SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR2);
    own = 0;
    EXPECT_EQ((intptr_t)finish(start(unblock_here, NULL)), SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    EXPECT_EQ(own, 0);
}

static void *jump_about(void *argument)
{
    sigjmp_buf with, without;
    sigset_t set = set_of(SIGUSR1);
    volatile int round = 0;
    sigset_t start_mask;
    pthread_sigmask(SIG_SETMASK, NULL, &start_mask);
    if (sigsetjmp(with, 1) == 0) {
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        EXPECT_EQ(is_blocked(SIGUSR1), 1);
        sched_yield();
        siglongjmp(with, 1);
    }
    EXPECT_EQ(is_blocked(SIGUSR1), 0);
    sched_yield();
    EXPECT_EQ(is_blocked(SIGUSR1), 0);
    if (sigsetjmp(without, 0) == 0) {
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        siglongjmp(without, 1);
    }
    EXPECT_EQ(is_blocked(SIGUSR1), 1);
    sched_yield();
    EXPECT_EQ(is_blocked(SIGUSR1), 1);
    pthread_sigmask(SIG_SETMASK, &start_mask, NULL);
    round = round + 1;
    return argument;
}

static void jumps_restore_masks(void)
{
    pthread_t threads[5];
    jump_about(NULL);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(jump_about, NULL);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
}

static volatile int blocked_in_handler;

static void look_in_handler(int number)
{
    blocked_in_handler = is_blocked(number) * 10 + is_blocked(SIGHUP);
    sched_yield();
    blocked_in_handler = blocked_in_handler * 100 + is_blocked(number) * 10 + is_blocked(SIGHUP);
}

static void *raise_and_look(void *argument)
{
    raise(SIGUSR1);
    EXPECT_EQ(blocked_in_handler, 1111);
    EXPECT_EQ(is_blocked(SIGUSR1), 0);
    EXPECT_EQ(is_blocked(SIGHUP), 0);
    return argument;
}

static void handler_s_mask_lasts_as_long_as_it(void)
{
    struct sigaction action = { .sa_handler = look_in_handler };
    sigaddset(&action.sa_mask, SIGHUP);
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise_and_look(NULL);
    finish(start(raise_and_look, NULL));
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *take_signals_and_end(void *argument)
{
    sigset_t set = set_of(SIGRTMIN);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    atomic_set(argument, 1);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return argument;
}

/* Who alone takes the process's signals has taken all that were sent before it could end. */
static void process_s_signals_are_handled_before_their_thread_ends(void)
{
    enum { ROUNDS = 50, SIGNALS = 5 };
    sigset_t set = set_of(SIGRTMIN);
    handle(SIGRTMIN);
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    atomic_set(&handled, 0);
    for (int i = 1; i <= ROUNDS; i++) {
        int ready = 0;
        pthread_mutex_lock(&gate);
        pthread_t thread = start(take_signals_and_end, &ready);
        EXPECT(wait_for_value(&ready, 1));
        for (int k = 0; k < SIGNALS; k++) {
            EXPECT_EQ(kill(getpid(), SIGRTMIN), 0);
        }
        pthread_mutex_unlock(&gate);
        finish(thread);
        EXPECT_EQ(atomic_get(&handled), i * SIGNALS);
    }
    EXPECT_EQ(is_pending(SIGRTMIN), 0);
    EXPECT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
}

static const struct check checks[] = {
    CHECK(masks_are_inherited_and_then_one_s_own),
    CHECK(pending_signals_come_when_unblocked),
    CHECK(pending_signals_without_a_handler),
    CHECK(process_s_signal_finds_the_thread_that_takes_it),
    CHECK(pending_of_thread_and_of_process_differ),
    CHECK(process_s_signals_are_handled_before_their_thread_ends),
    CHECK(process_s_pending_signal_goes_to_who_unblocks_first),
    CHECK(jumps_restore_masks),
    CHECK(handler_s_mask_lasts_as_long_as_it),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
