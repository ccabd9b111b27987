/* Signals as the process's end, stop and pipe breaker: what threads see of them. */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

static __thread volatile int own;
static int handled;

static void on_signal(int number)
{
    own = number;
    atomic_add(&handled, 1);
}

static void *sleep_for_ever(void *argument)
{
    for (;;) {
        pause();
    }
    return argument;
}

static int ending_signal;

static int die_by_signal(void)
{
    pthread_detach(start(sleep_for_ever, NULL));
    kill(getpid(), ending_signal);
    sleep(10);
    return 1;
}

static void *kill_from_thread(void *argument)
{
    kill(getpid(), ending_signal);
    sleep(10);
    return argument;
}

static int die_by_thread(void)
{
    finish(start(kill_from_thread, NULL));
    return 1;
}

static int die_while_all_sleep(void)
{
    pthread_detach(start(sleep_for_ever, NULL));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        sleep_ms(20);
        kill(parent, ending_signal);
        _exit(0);
    }
    sleep_for_ever(NULL);
    return 1;
}

static void default_actions_end_the_process(void)
{
    int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM, SIGKILL, SIGQUIT, SIGABRT, SIGSEGV, SIGRTMIN };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        ending_signal = signals[i];
        EXPECT_KILLED(child_run(die_by_signal), signals[i]);
        EXPECT_KILLED(child_run(die_by_thread), signals[i]);
        EXPECT_KILLED(child_run(die_while_all_sleep), signals[i]);
    }
}

static int ignore_the_harmless(void)
{
    int signals[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
    pthread_detach(start(sleep_for_ever, NULL));
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        kill(getpid(), signals[i]);
        raise(signals[i]);
    }
    return 15;
}

static void harmless_signals_are_ignored(void)
{
    EXPECT_EXITS(child_run(ignore_the_harmless), 15);
}

static int fault(void)
{
    pthread_detach(start(sleep_for_ever, NULL));
    *(volatile int *)16 = 1;
    return 1;
}

static int divide(void)
{
    volatile int zero = 0;
    pthread_detach(start(sleep_for_ever, NULL));
    return 100 / zero;
}

static int run_nonsense(void)
{
    pthread_detach(start(sleep_for_ever, NULL));
    __builtin_trap();
}

static void faults_end_the_process(void)
{
    EXPECT_KILLED(child_run(fault), SIGSEGV);
    EXPECT_KILLED(child_run(divide), SIGFPE);
    EXPECT_KILLED(child_run(run_nonsense), SIGILL);
}

static int fault_with_ignored_signal(void)
{
    signal(SIGSEGV, SIG_IGN);
    return fault();
}

static void ignored_faults_do_too(void)
{
    EXPECT_KILLED(child_run(fault_with_ignored_signal), SIGSEGV);
}

static void *write_to_nobody(void *argument)
{
    int fds[2], pair[2];
    EXPECT_EQ(pipe(fds), 0);
    close(fds[0]);
    own = 0;
    EXPECT_ERRNO(write(fds[1], "x", 1), EPIPE);
    EXPECT_EQ(own, SIGPIPE);
    close(fds[1]);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[0]);
    own = 0;
    EXPECT_ERRNO(send(pair[1], "x", 1, 0), EPIPE);
    EXPECT_EQ(own, SIGPIPE);
    own = 0;
    EXPECT_ERRNO(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    EXPECT_EQ(own, 0);
    close(pair[1]);
    return argument;
}

static void SIGPIPE_comes_to_the_writer(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    pthread_t threads[4];
    sigaction(SIGPIPE, &action, NULL);
    atomic_set(&handled, 0);
    write_to_nobody(NULL);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(write_to_nobody, NULL);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_get(&handled), 10);
    signal(SIGPIPE, SIG_DFL);
}

static int die_of_a_broken_pipe(void)
{
    int fds[2];
    signal(SIGPIPE, SIG_DFL);
    EXPECT_EQ(pipe(fds), 0);
    close(fds[0]);
    return (int)write(fds[1], "x", 1);
}

static void *die_in_child_of_thread(void *argument)
{
    EXPECT_KILLED(child_run(die_of_a_broken_pipe), SIGPIPE);
    return argument;
}

static void SIGPIPE_kills_by_default(void)
{
    EXPECT_KILLED(child_run(die_of_a_broken_pipe), SIGPIPE);
    finish(start(die_in_child_of_thread, NULL));
}

static void tick_for_ever(void)
{
    pthread_detach(start(sleep_for_ever, NULL));
    for (;;) {
        sleep_ms(1);
    }
}

static void processes_with_threads_stop_and_go_on(void)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        tick_for_ever();
    }
    sleep_ms(20);
    for (int i = 0; i < 3; i++) {
        kill(pid, SIGSTOP);
        EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
        EXPECT(WIFSTOPPED(status));
        kill(pid, SIGCONT);
        EXPECT_EQ(waitpid(pid, &status, WCONTINUED), pid);
        EXPECT(WIFCONTINUED(status));
    }
    kill(pid, SIGTERM);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_KILLED(status, SIGTERM);
}

static int signal_the_group(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    setpgid(0, 0);
    sigaction(SIGUSR1, &action, NULL);
    int fds[2];
    char byte;
    EXPECT_EQ(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_detach(start(sleep_for_ever, NULL));
        EXPECT_EQ(write(fds[1], "r", 1), 1);
        while (!atomic_get(&handled)) {
            sleep_ms(1);
        }
        _exit(3);
    }
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
    EXPECT_EQ(killpg(0, SIGUSR1), 0);
    EXPECT(wait_for_value(&handled, 1));
    int status = -1;
    while (waitpid(pid, &status, 0) == -1) {
    }
    EXPECT_EXITS(status, 3);
    return 16;
}

static void groups_are_signalled(void)
{
    atomic_set(&handled, 0);
    EXPECT_EXITS(child_run(signal_the_group), 16);
}

static void *send_many(void *argument)
{
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }), 0);
        if (i % 10 == 0) {
            sched_yield();
        }
    }
    return argument;
}

static void a_storm_of_queued_signals_is_counted(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    pthread_t threads[4];
    sigaction(SIGRTMIN + 1, &action, NULL);
    atomic_set(&handled, 0);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(send_many, NULL);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    EXPECT(wait_for_value(&handled, 200));
}

static int rounds_over;

static void *yield_for_ever(void *argument)
{
    while (!atomic_get(&rounds_over)) {
        sched_yield();
    }
    return argument;
}

/* The sender blocks it: it comes as the sender gives way to one of those that do not. */
static void what_only_others_take_comes_to_one_of_them(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    pthread_t threads[2];
    sigset_t all, before;
    sigfillset(&all);
    sigaction(SIGUSR1, &action, NULL);
    atomic_set(&handled, 0);
    atomic_set(&rounds_over, 0);
    for (int i = 0; i < 2; i++) {
        threads[i] = start(yield_for_ever, NULL);
    }
    own = 0;
    EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    for (int round = 1; round <= 100; round++) {
        EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        sched_yield();
        if (!wait_for_value(&handled, round)) {
            EXPECT_EQ(atomic_get(&handled), round);
            break;
        }
    }
    EXPECT_EQ(own, 0);
    atomic_set(&rounds_over, 1);
    for (int i = 0; i < 2; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static const struct check checks[] = {
    CHECK(default_actions_end_the_process),
    CHECK(harmless_signals_are_ignored),
    CHECK(faults_end_the_process),
    CHECK(ignored_faults_do_too),
    CHECK(SIGPIPE_comes_to_the_writer),
    CHECK(SIGPIPE_kills_by_default),
    CHECK(processes_with_threads_stop_and_go_on),
    CHECK(groups_are_signalled),
    CHECK(a_storm_of_queued_signals_is_counted),
    CHECK(what_only_others_take_comes_to_one_of_them),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
