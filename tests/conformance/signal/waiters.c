/* Threads that wait for signals: sigwait and its kin, sigsuspend, pause, signalfd, and processes that are all asleep. */
#include "check.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/signalfd.h>

static __thread volatile int own;
static int handled, ready;

static void on_signal(int number)
{
    own = number;
    atomic_add(&handled, 1);
}

static void handle(int number, int flags)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    sigaddset(&set, second);
    return set;
}

static void *wait_three(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    int got[3] = { 0 }, sum = 0;
    (void)argument;
    for (int i = 0; i < 3; i++) {
        atomic_add(&ready, 1);
        EXPECT_EQ(sigwait(&set, &got[i]), 0);
        sum = sum * 100 + got[i];
    }
    return (void *)(intptr_t)sum;
}

static void a_thread_takes_the_process_s_signals(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    atomic_set(&ready, 0);
    pthread_t thread = start(wait_three, NULL);
    for (int i = 0; i < 3; i++) {
        EXPECT(wait_for_value(&ready, i + 1));
        if (i == 1) {
            pthread_kill(thread, SIGUSR2);
        } else {
            kill(getpid(), SIGUSR1);
        }
    }
    EXPECT_EQ((intptr_t)finish(thread), SIGUSR1 * 10000 + SIGUSR2 * 100 + SIGUSR1);
}

static void *wait_one(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    int got = 0;
    atomic_add(&ready, 1);
    EXPECT_EQ(sigwait(&set, &got), 0);
    atomic_add(argument, 1);
    return (void *)(intptr_t)got;
}

static void each_signal_goes_to_one_waiter(void)
{
    pthread_t threads[5];
    int taken = 0;
    atomic_set(&ready, 0);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(wait_one, &taken);
    }
    EXPECT(wait_for_value(&ready, 5));
    for (int i = 1; i <= 5; i++) {
        kill(getpid(), SIGUSR1);
        EXPECT(wait_for_value(&taken, i));
    }
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ((intptr_t)finish(threads[i]), SIGUSR1);
    }
}

static void *wait_for_mine(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    siginfo_t info;
    (void)argument;
    EXPECT_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    return (void *)(intptr_t)info.si_value.sival_int;
}

static void thread_s_signal_goes_to_that_thread(void)
{
    pthread_t threads[5];
    for (int i = 0; i < 5; i++) {
        threads[i] = start(wait_for_mine, NULL);
    }
    for (int i = 4; i >= 0; i--) {
        EXPECT_EQ(pthread_sigqueue(threads[i], SIGUSR1, (union sigval){ .sival_int = i + 100 }), 0);
    }
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ((intptr_t)finish(threads[i]), i + 100);
    }
}

static void *use_sigtimedwait(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    siginfo_t info = { 0 };
    int64_t began = now_ns(CLOCK_MONOTONIC);
    EXPECT_ERRNO(sigtimedwait(&set, &info, &(struct timespec){ 0, 20000000 }), EAGAIN);
    EXPECT(ms_since(began) >= 20);
    EXPECT_ERRNO(sigtimedwait(&set, &info, &(struct timespec){ 0, 0 }), EAGAIN);
    EXPECT_ERRNO(sigtimedwait(&set, &info, &(struct timespec){ 0, 1000000000 }), EINVAL);
    EXPECT_ERRNO(sigtimedwait(&set, &info, &(struct timespec){ -1, 0 }), EINVAL);
    raise(SIGUSR2);
    EXPECT_EQ(sigtimedwait(&set, &info, &(struct timespec){ 0, 0 }), SIGUSR2);
    EXPECT(info.si_signo == SIGUSR2 && info.si_pid == getpid() && info.si_code == SI_USER);
    raise(SIGUSR2);
    raise(SIGUSR1);
    EXPECT_EQ(sigtimedwait(&set, NULL, &(struct timespec){ 60, 0 }), SIGUSR1);
    EXPECT_EQ(sigtimedwait(&set, NULL, NULL), SIGUSR2);
    return argument;
}

static void sigtimedwait_times_out(void)
{
    use_sigtimedwait(NULL);
    finish(start(use_sigtimedwait, NULL));
}

static volatile int mask_in_sigsuspend;

static void look_at_mask(int number)
{
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    mask_in_sigsuspend = sigismember(&now, SIGUSR1) * 10 + sigismember(&now, SIGHUP);
    own = number;
    atomic_add(&handled, 1);
}

static void *suspend(void *argument)
{
    sigset_t during = set_of(SIGHUP, SIGHUP), now;
    struct sigaction action = { .sa_handler = look_at_mask, .sa_flags = SA_NODEFER };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    EXPECT_EQ(own, 0);
    EXPECT_ERRNO(sigsuspend(&during), EINTR);
    EXPECT_EQ(own, SIGUSR1);
    EXPECT_EQ(mask_in_sigsuspend, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
    EXPECT_EQ(sigismember(&now, SIGHUP), 0);
    own = 0;
    atomic_set(argument, 1);
    EXPECT_ERRNO(sigsuspend(&during), EINTR);
    EXPECT_EQ(own, SIGUSR1);
    own = 0;
    return argument;
}

static void sigsuspend_opens_the_mask_while_it_waits(void)
{
    int waiting = 0;
    pthread_t thread = start(suspend, &waiting);
    EXPECT(wait_for_value(&waiting, 1));
    sleep_ms(10);
    EXPECT_EQ(pthread_kill(thread, SIGUSR1), 0);
    finish(thread);
}

static void *pause_once(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    EXPECT_ERRNO(pause(), EINTR);
    atomic_set(argument, 1);
    return (void *)(intptr_t)own;
}

static void pause_ends_with_a_handler(void)
{
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        int done = 0;
        handle(SIGUSR1, flags);
        pthread_t thread = start(pause_once, &done);
        while (!atomic_get(&done)) {
            sleep_ms(2);
            pthread_kill(thread, SIGUSR1);
        }
        EXPECT_EQ((intptr_t)finish(thread), SIGUSR1);
    }
}

static void *read_signalfd(void *argument)
{
    struct signalfd_siginfo info;
    int fd = *(int *)argument, sum = 0;
    for (int i = 0; i < 3; i++) {
        struct pollfd item = { .fd = fd, .events = POLLIN };
        if (i == 1) {
            EXPECT_EQ(poll(&item, 1, -1), 1);
        }
        atomic_add(&ready, 1);
        EXPECT_EQ(read(fd, &info, sizeof info), sizeof info);
        EXPECT_EQ(info.ssi_pid, getpid());
        sum = sum * 100 + (int)info.ssi_signo;
    }
    return (void *)(intptr_t)sum;
}

static void signalfd_is_read_by_a_thread(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    EXPECT(fd >= 0);
    atomic_set(&ready, 0);
    pthread_t thread = start(read_signalfd, &fd);
    EXPECT(wait_for_value(&ready, 1));
    let_others_block();
    kill(getpid(), SIGUSR1);
    EXPECT_EQ(wait_for_value(&ready, 1), 1);
    sleep_ms(10);
    kill(getpid(), SIGUSR2);
    EXPECT(wait_for_value(&ready, 3));
    kill(getpid(), SIGUSR1);
    EXPECT_EQ((intptr_t)finish(thread), SIGUSR1 * 10000 + SIGUSR2 * 100 + SIGUSR1);
    close(fd);
}

static void *open_and_end(void *argument)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    usleep(200);
    return argument;
}

/* Who took the signal has ended: it is pending for those who are left. */
static void who_ends_takes_no_signal_along(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    handle(SIGUSR1, 0);
    for (int i = 0; i < 50; i++) {
        siginfo_t info = { 0 };
        pthread_t threads[4];
        for (int t = 0; t < 4; t++) {
            threads[t] = start(open_and_end, NULL);
        }
        for (int t = 0; t < 4; t++) {
            finish(threads[t]);
        }
        EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        EXPECT_EQ(sigtimedwait(&set, &info, &(struct timespec){ 10, 0 }), SIGUSR1);
        EXPECT_EQ(info.si_pid, getpid());
    }
}

static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int finished;

static void *block_on_sem(void *argument)
{
    while (sem_wait(&sem) == -1) {
    }
    return argument;
}

static void *block_on_cond(void *argument)
{
    pthread_mutex_lock(&mutex);
    while (!finished) {
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    return argument;
}

static void post_from_handler(int number)
{
    (void)number;
    int saved = errno;
    sem_post(&sem);
    errno = saved;
    atomic_add(&handled, 1);
}

static void signal_arrives_while_all_threads_sleep(void)
{
    pthread_t threads[4];
    struct sigaction action = { .sa_handler = post_from_handler, .sa_flags = SA_RESTART };
    sigaction(SIGALRM, &action, NULL);
    sem_init(&sem, 0, 0);
    finished = 0;
    atomic_set(&handled, 0);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(i ? block_on_cond : block_on_sem, NULL);
    }
    ualarm(50000, 0);
    finish(threads[0]);
    EXPECT_EQ(atomic_get(&handled), 1);
    pthread_mutex_lock(&mutex);
    finished = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 1; i < 4; i++) {
        finish(threads[i]);
    }
}

static void another_process_sends_while_all_sleep(void)
{
    pthread_t thread;
    struct sigaction action = { .sa_handler = post_from_handler, .sa_flags = SA_RESTART };
    sigaction(SIGHUP, &action, NULL);
    sem_init(&sem, 0, 0);
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        sleep_ms(50);
        kill(parent, SIGHUP);
        _exit(0);
    }
    thread = start(block_on_sem, NULL);
    finish(thread);
    EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

static const struct check checks[] = {
    CHECK(a_thread_takes_the_process_s_signals),
    CHECK(each_signal_goes_to_one_waiter),
    CHECK(thread_s_signal_goes_to_that_thread),
    CHECK(sigtimedwait_times_out),
    CHECK(sigsuspend_opens_the_mask_while_it_waits),
    CHECK(pause_ends_with_a_handler),
    CHECK(signalfd_is_read_by_a_thread),
    CHECK(who_ends_takes_no_signal_along),
    CHECK(signal_arrives_while_all_threads_sleep),
    CHECK(another_process_sends_while_all_sleep),
};

int main(int argc, char **argv)
{
    /* Blocked from the start, so that checks can be run alone. */
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return CHECKS_RUN(checks, argc, argv);
}
