/* fork in programs with threads: who goes on in the child, what it finds there, and what it may do. */
#include "check.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>

static __thread int own = 3;
static pthread_key_t key;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static int ticks, stop;

static void *tick(void *argument)
{
    while (!atomic_get(&stop)) {
        atomic_add(&ticks, 1);
        sleep_ms(1);
    }
    return argument;
}

static int (*in_child)(void);

static void *fork_and_wait(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)child_run(in_child);
}

/* What the function's status is in a child that is forked by a thread, while others live. */
static int status_in_child_of_thread(int (*function)(void))
{
    in_child = function;
    atomic_set(&stop, 0);
    pthread_t other = start(tick, NULL), forker = start(fork_and_wait, NULL);
    int status = (int)(intptr_t)finish(forker);
    atomic_set(&stop, 1);
    finish(other);
    return status;
}

static int return_seven(void)
{
    return 7;
}

static int exit_eight(void)
{
    exit(8);
}

static int abort_it(void)
{
    abort();
}

static void statuses_reach_the_parent(void)
{
    EXPECT_EXITS(child_run(return_seven), 7);
    EXPECT_EXITS(child_run(exit_eight), 8);
    EXPECT_KILLED(child_run(abort_it), SIGABRT);
    EXPECT_EXITS(status_in_child_of_thread(return_seven), 7);
    EXPECT_EXITS(status_in_child_of_thread(exit_eight), 8);
    EXPECT_KILLED(status_in_child_of_thread(abort_it), SIGABRT);
}

static pthread_t forking_thread;
static pid_t parent_pid;

static int look_around(void)
{
    EXPECT_EQ(own, 44);
    EXPECT(pthread_getspecific(key) == &own);
    EXPECT_EQ(errno, 33);
    EXPECT(pthread_equal(pthread_self(), forking_thread));
    EXPECT_EQ(getppid(), parent_pid);
    EXPECT_EQ(gettid(), getpid());
    int seen = atomic_get(&ticks);
    sleep_ms(20);
    EXPECT_EQ(atomic_get(&ticks), seen);
    return 0;
}

static void *prepare_and_fork(void *argument)
{
    own = 44;
    pthread_setspecific(key, &own);
    forking_thread = pthread_self();
    fflush(stdout);
    errno = 33;
    pid_t pid = fork();
    if (pid == 0) {
        check_failures = 0;
        look_around();
        _exit(check_failures ? 99 : 0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EXITS(status, 0);
    EXPECT_EQ(own, 44);
    EXPECT(pthread_getspecific(key) == &own);
    return argument;
}

static void child_has_the_forking_thread_alone(void)
{
    parent_pid = getpid();
    pthread_key_create(&key, NULL);
    atomic_set(&stop, 0);
    pthread_t other = start(tick, NULL);
    finish(start(prepare_and_fork, NULL));
    atomic_set(&stop, 1);
    finish(other);
}

static void *return_argument(void *argument)
{
    sched_yield();
    return argument;
}

static int create_threads(void)
{
    pthread_t threads[20];
    for (intptr_t i = 0; i < 20; i++) {
        threads[i] = start(return_argument, (void *)i);
    }
    for (intptr_t i = 0; i < 20; i++) {
        EXPECT(finish(threads[i]) == (void *)i);
    }
    return 0;
}

static int sleep_and_lock(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 10);
    int64_t began = now_ns(CLOCK_MONOTONIC);
    sleep_ms(10);
    EXPECT(ms_since(began) >= 10);
    pthread_mutex_lock(&mutex);
    EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &deadline), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static int pair[2];

static void *echo(void *argument)
{
    char byte;
    while (read(pair[1], &byte, 1) == 1) {
        EXPECT_EQ(write(pair[1], &byte, 1), 1);
    }
    return argument;
}

static int use_sockets(void)
{
    char byte = 'a';
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pthread_t thread = start(echo, NULL);
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(write(pair[0], &byte, 1), 1);
        EXPECT_EQ(read(pair[0], &byte, 1), 1);
    }
    shutdown(pair[0], SHUT_RDWR);
    finish(thread);
    return 0;
}

static int fork_again(void)
{
    EXPECT_EXITS(child_run(create_threads), 0);
    EXPECT_EXITS(status_in_child_of_thread(use_sockets), 0);
    return 0;
}

static void child_may_do_everything(void)
{
    static int (*const functions[])(void) = { create_threads, sleep_and_lock, use_sockets, fork_again };
    for (int i = 0; i < 4; i++) {
        EXPECT_EXITS(child_run(functions[i]), 0);
        EXPECT_EXITS(status_in_child_of_thread(functions[i]), 0);
    }
}

static void *fork_and_return(void *argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        return argument;
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return (void *)(intptr_t)status;
}

static void *fork_and_exit(void *argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        pthread_exit(argument);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return (void *)(intptr_t)status;
}

static void child_ends_with_the_thread_that_forked(void)
{
    for (int i = 0; i < 5; i++) {
        EXPECT_EXITS((int)(intptr_t)finish(start(fork_and_return, &held)), 0);
        EXPECT_EXITS((int)(intptr_t)finish(start(fork_and_exit, &held)), 0);
    }
}

static int fork_into_orphan_threads(void)
{
    pthread_detach(start(tick, NULL));
    sleep_ms(5);
    atomic_set(&stop, 1);
    pthread_exit(NULL);
}

static void child_s_main_may_leave_its_threads(void)
{
    EXPECT_EXITS(child_run(fork_into_orphan_threads), 0);
    EXPECT_EXITS(status_in_child_of_thread(fork_into_orphan_threads), 0);
}

static char order[64];

static void prepare_first(void) { strcat(order, "p1 "); }
static void prepare_second(void) { strcat(order, "p2 "); }
static void parent_first(void) { strcat(order, "q1 "); }
static void parent_second(void) { strcat(order, "q2 "); }
static void child_first(void) { strcat(order, "c1 "); }
static void child_second(void) { strcat(order, "c2 "); }

static int compare_child_order(void)
{
    puts(order);
    return strcmp(order, "p2 p1 c1 c2 ") != 0;
}

static void atfork_handlers_run_in_order(void)
{
    static int registered;
    if (!registered++) {
        EXPECT_EQ(pthread_atfork(prepare_first, parent_first, child_first), 0);
        EXPECT_EQ(pthread_atfork(NULL, NULL, NULL), 0);
        EXPECT_EQ(pthread_atfork(prepare_second, parent_second, child_second), 0);
    }
    order[0] = 0;
    EXPECT_EXITS(child_run(compare_child_order), 0);
    EXPECT(strcmp(order, "p2 p1 q1 q2 ") == 0);
    order[0] = 0;
    EXPECT_EXITS(status_in_child_of_thread(compare_child_order), 0);
    EXPECT(strcmp(order, "p2 p1 q1 q2 ") == 0);
}

static sem_t taken;

static void *hold_lock(void *argument)
{
    pthread_mutex_lock(&held);
    sem_post(&taken);
    while (!atomic_get(argument)) {
        sleep_ms(1);
    }
    pthread_mutex_unlock(&held);
    return NULL;
}

static int try_lock(void)
{
    return pthread_mutex_trylock(&held) == EBUSY ? 0 : 1;
}

static void locks_of_the_others_stay_locked(void)
{
    int release = 0;
    sem_init(&taken, 0, 0);
    pthread_t owner = start(hold_lock, &release);
    sem_wait(&taken);
    EXPECT_EXITS(child_run(try_lock), 0);
    EXPECT_EXITS(status_in_child_of_thread(try_lock), 0);
    atomic_set(&release, 1);
    finish(owner);
    EXPECT_EQ(pthread_mutex_trylock(&held), 0);
    pthread_mutex_unlock(&held);
}

static int own_lock_of_the_forker(void)
{
    EXPECT_EQ(pthread_mutex_trylock(&held), EBUSY);
    EXPECT_EQ(pthread_mutex_unlock(&held), 0);
    EXPECT_EQ(pthread_mutex_lock(&held), 0);
    EXPECT_EQ(pthread_mutex_unlock(&held), 0);
    return 0;
}

static void lock_of_the_forker_is_its_own(void)
{
    pthread_mutex_lock(&held);
    EXPECT_EXITS(child_run(own_lock_of_the_forker), 0);
    pthread_mutex_unlock(&held);
}

static int linger(void)
{
    sleep_ms(100);
    return 0;
}

static void others_run_while_one_waits_for_its_child(void)
{
    int more = 0;
    for (int i = 0; i < 20 && more <= 3; i++) { /* a busy machine may keep the ticks back */
        int before = atomic_get(&ticks);
        EXPECT_EXITS(status_in_child_of_thread(linger), 0);
        more = atomic_get(&ticks) - before;
    }
    EXPECT(more > 3);
}

static int inherited[2];

static int read_inherited(void)
{
    char byte = 0;
    EXPECT_EQ(read(inherited[0], &byte, 1), 1);
    return byte;
}

static void *write_inherited(void *argument)
{
    sleep_ms(20);
    EXPECT_EQ(write(inherited[1], "*", 1), 1);
    return argument;
}

static void child_waits_on_inherited_descriptors(void)
{
    EXPECT_EQ(pipe(inherited), 0);
    for (int i = 0; i < 2; i++) {
        pthread_t writer = start(write_inherited, NULL);
        EXPECT_EXITS(i ? child_run(read_inherited) : status_in_child_of_thread(read_inherited), '*');
        finish(writer);
    }
    EXPECT_EQ(fcntl(inherited[0], F_GETFL) & O_NONBLOCK, 0);
    close(inherited[0]);
    close(inherited[1]);
}

static int ask_mask_and_pending(void)
{
    sigset_t mask, pending;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    EXPECT_EQ(sigismember(&mask, SIGUSR2), 1);
    EXPECT_EQ(sigismember(&mask, SIGUSR1), 0);
    EXPECT_EQ(sigismember(&pending, SIGUSR2), 0);
    return 0;
}

static void *fork_with_pending_signal(void *argument)
{
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, SIGUSR2), 1);
    EXPECT_EXITS(child_run(ask_mask_and_pending), 0);
    EXPECT_EQ(sigtimedwait(&set, NULL, &(struct timespec){ 5, 0 }), SIGUSR2);
    return argument;
}

static void mask_is_inherited_and_pending_signals_are_not(void)
{
    finish(start(fork_with_pending_signal, NULL));
}

static const struct check checks[] = {
    CHECK(statuses_reach_the_parent),
    CHECK(child_has_the_forking_thread_alone),
    CHECK(child_may_do_everything),
    CHECK(child_ends_with_the_thread_that_forked),
    CHECK(child_s_main_may_leave_its_threads),
    CHECK(locks_of_the_others_stay_locked),
    CHECK(lock_of_the_forker_is_its_own),
    CHECK(others_run_while_one_waits_for_its_child),
    CHECK(child_waits_on_inherited_descriptors),
    CHECK(mask_is_inherited_and_pending_signals_are_not),
    CHECK(atfork_handlers_run_in_order),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
