/* wait, waitpid, waitid, wait3 and wait4: whom they wait for, what they tell, errors, EINTR, ignored SIGCHLD. */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

/* A child that ends with the status after so many milliseconds, -1 for never. */
static pid_t child_start(int ms, int status)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_DFL);
        if (ms < 0) {
            for (;;) {
                pause();
            }
        }
        sleep_ms(ms);
        _exit(status);
    }
    EXPECT(pid > 0);
    return pid;
}

static int (*on_thread_function)(void);

static void *call(void *argument)
{
    (void)argument;
    on_thread_function();
    return NULL;
}

/* On the main thread, then on another. */
static void twice(int (*function)(void))
{
    function();
    on_thread_function = function;
    finish(start(call, NULL));
}

static int wait_for_one(void)
{
    int status = -1;
    pid_t pid = child_start(10, 4);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EXITS(status, 4);
    pid = child_start(0, 5);
    EXPECT_EQ(wait(&status), pid);
    EXPECT_EXITS(status, 5);
    pid = child_start(5, 6);
    EXPECT_EQ(waitpid(-1, &status, 0), pid);
    EXPECT_EXITS(status, 6);
    pid = child_start(5, 7);
    EXPECT_EQ(waitpid(0, &status, 0), pid);
    EXPECT_EXITS(status, 7);
    pid = child_start(-1, 0);
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_KILLED(status, SIGKILL);
    EXPECT_EQ(waitpid(child_start(0, 0), NULL, 0) > 0, 1);
    return 0;
}

static void each_form_waits(void)
{
    twice(wait_for_one);
}

static int ask_without_waiting(void)
{
    int status = -1;
    pid_t pid = child_start(-1, 0), got;
    EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
    EXPECT_EQ(waitpid(-1, &status, WNOHANG), 0);
    kill(pid, SIGTERM);
    while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
        sched_yield();
    }
    EXPECT_EQ(got, pid);
    EXPECT_KILLED(status, SIGTERM);
    EXPECT_ERRNO(waitpid(pid, &status, WNOHANG), ECHILD);
    return 0;
}

static void WNOHANG_does_not_wait(void)
{
    twice(ask_without_waiting);
}

static int ask_wrongly(void)
{
    siginfo_t info;
    EXPECT_ERRNO(wait(NULL), ECHILD);
    EXPECT_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    EXPECT_ERRNO(waitpid(getpid(), NULL, 0), ECHILD);
    EXPECT_ERRNO(waitpid(1, NULL, 0), ECHILD);
    EXPECT_ERRNO(waitpid(-1, NULL, 0x10000), EINVAL);
    EXPECT_ERRNO(wait4(-1, NULL, 0, NULL), ECHILD);
    EXPECT_ERRNO(wait3(NULL, WNOHANG, NULL), ECHILD);
    EXPECT_ERRNO(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
    EXPECT_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);
    EXPECT_ERRNO(waitid(77, 0, &info, WEXITED), EINVAL);
    EXPECT_ERRNO(waitid(P_PIDFD, 999, &info, WEXITED), EBADF);
    return 0;
}

static void errors_are_told(void)
{
    twice(ask_wrongly);
}

static int follow_stops(void)
{
    int status = -1;
    siginfo_t info;
    pid_t pid = child_start(-1, 0);
    kill(pid, SIGSTOP);
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    EXPECT(WIFSTOPPED(status));
    EXPECT_EQ(WSTOPSIG(status), SIGSTOP);
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
    kill(pid, SIGCONT);
    EXPECT_EQ(waitpid(pid, &status, WCONTINUED), pid);
    EXPECT(WIFCONTINUED(status));
    kill(pid, SIGSTOP);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED), 0);
    EXPECT_EQ(info.si_code, CLD_STOPPED);
    EXPECT_EQ(info.si_status, SIGSTOP);
    kill(pid, SIGCONT);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WCONTINUED), 0);
    EXPECT_EQ(info.si_code, CLD_CONTINUED);
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED | WCONTINUED), pid);
    EXPECT_KILLED(status, SIGKILL);
    return 0;
}

static void stops_and_continues_are_told(void)
{
    twice(follow_stops);
}

static int wait_by_group(void)
{
    int status = -1;
    pid_t leader = child_start(-1, 0), member = child_start(-1, 0), outsider = child_start(0, 3), got;
    EXPECT_EQ(setpgid(leader, leader), 0);
    EXPECT_EQ(setpgid(member, leader), 0);
    EXPECT_EQ(waitpid(-leader, &status, WNOHANG), 0);
    EXPECT_EQ(waitpid(0, &status, 0), outsider);
    EXPECT_EXITS(status, 3);
    EXPECT_ERRNO(waitpid(0, &status, 0), ECHILD);
    kill(-leader, SIGTERM);
    got = waitpid(-leader, &status, 0);
    EXPECT(got == leader || got == member);
    EXPECT_KILLED(status, SIGTERM);
    siginfo_t info;
    EXPECT_EQ(waitid(P_PGID, (id_t)leader, &info, WEXITED), 0);
    EXPECT_EQ(info.si_pid, got == leader ? member : leader);
    EXPECT_EQ(info.si_code, CLD_KILLED);
    EXPECT_EQ(info.si_status, SIGTERM);
    EXPECT_ERRNO(waitpid(-leader, &status, 0), ECHILD);
    return 0;
}

static void groups_are_told_apart(void)
{
    twice(wait_by_group);
}

static int use_waitid(void)
{
    siginfo_t info = { 0 };
    pid_t pid = child_start(10, 21);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(info.si_pid, pid);
    EXPECT_EQ(info.si_signo, SIGCHLD);
    EXPECT_EQ(info.si_code, CLD_EXITED);
    EXPECT_EQ(info.si_status, 21);
    EXPECT_EQ(info.si_uid, getuid());
    EXPECT_EQ(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(info.si_pid, pid);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    EXPECT_ERRNO(waitid(P_PID, (id_t)pid, &info, WEXITED), ECHILD);

    pid = child_start(-1, 0);
    memset(&info, 0xff, sizeof info);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG), 0);
    EXPECT_EQ(info.si_pid, 0);
    EXPECT_EQ(info.si_signo, 0);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
    EXPECT_EQ(waitid(P_PIDFD, (id_t)fd, &info, WEXITED), 0);
    EXPECT_EQ(info.si_pid, pid);
    EXPECT_EQ(info.si_code, CLD_KILLED);
    close(fd);
    pid = child_start(5, 1);
    EXPECT_EQ(waitid(P_PID, (id_t)pid, NULL, WEXITED), 0);
    return 0;
}

static void waitid_tells_more(void)
{
    twice(use_waitid);
}

static int ask_usage(void)
{
    struct rusage usage;
    int status = -1;
    memset(&usage, 0xff, sizeof usage);
    pid_t pid = child_start(10, 2);
    EXPECT_EQ(wait4(pid, &status, 0, &usage), pid);
    EXPECT_EXITS(status, 2);
    EXPECT(usage.ru_maxrss > 0 && usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_sec < 10);
    memset(&usage, 0xff, sizeof usage);
    pid = child_start(10, 3);
    EXPECT_EQ(wait3(&status, 0, &usage), pid);
    EXPECT_EXITS(status, 3);
    EXPECT(usage.ru_maxrss > 0);
    return 0;
}

static void usage_is_told(void)
{
    twice(ask_usage);
}

static void *wait_for_a_child(void *argument)
{
    int status = -1;
    pid_t pid = *(pid_t *)argument;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return (void *)(intptr_t)status;
}

static void threads_wait_for_children_of_others(void)
{
    pid_t children[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        children[i] = child_start(5 + 5 * ((i * 5) % 8), i);
    }
    for (int i = 0; i < 8; i++) {
        threads[i] = start(wait_for_a_child, &children[i]);
    }
    for (int i = 0; i < 8; i++) {
        EXPECT_EXITS((int)(intptr_t)finish(threads[i]), i);
    }
}

static void *try_to_wait(void *argument)
{
    pid_t pid = *(pid_t *)argument, got = waitpid(pid, NULL, 0);
    return (void *)(intptr_t)(got == pid ? 1 : errno == ECHILD ? 2 : 3);
}

static void one_of_several_waiters_gets_the_child(void)
{
    for (int round = 0; round < 5; round++) {
        pthread_t threads[4];
        int results[4] = { 0 };
        pid_t pid = child_start(20, 0);
        for (int i = 0; i < 4; i++) {
            threads[i] = start(try_to_wait, &pid);
        }
        for (int i = 0; i < 4; i++) {
            results[(intptr_t)finish(threads[i])]++;
        }
        EXPECT_EQ(results[1], 1);
        EXPECT_EQ(results[2], 3);
    }
}

static void *wait_for_any(void *argument)
{
    int status = -1;
    (void)argument;
    EXPECT(waitpid(-1, &status, 0) > 0);
    return (void *)(intptr_t)WEXITSTATUS(status);
}

static void waiters_for_any_child_share_them(void)
{
    pthread_t threads[6];
    int sum = 0;
    for (int i = 0; i < 6; i++) {
        child_start(20, 1 << i);
    }
    for (int i = 0; i < 6; i++) {
        threads[i] = start(wait_for_any, NULL);
    }
    for (int i = 0; i < 6; i++) {
        sum += (int)(intptr_t)finish(threads[i]);
    }
    EXPECT_EQ(sum, 63);
    EXPECT_ERRNO(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static int handled;

static void on_signal(int number)
{
    (void)number;
    atomic_add(&handled, 1);
}

static void *wait_for_EINTR(void *argument)
{
    pid_t pid = *(pid_t *)argument;
    int result = waitpid(pid, NULL, 0);
    return (void *)(intptr_t)(result == -1 ? errno : result == pid ? 0 : -1);
}

static void handlers_interrupt_unless_restarted(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    void *value = NULL;
    pid_t pid = child_start(-1, 0);
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread = start(wait_for_EINTR, &pid);
    while (pthread_tryjoin_np(thread, &value) == EBUSY) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
    }
    EXPECT_EQ((intptr_t)value, EINTR);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    thread = start(wait_for_EINTR, &pid);
    atomic_set(&handled, 0);
    for (int i = 0; i < 10; i++) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
    }
    kill(pid, SIGKILL);
    EXPECT_EQ((intptr_t)finish(thread), 0);
    EXPECT(atomic_get(&handled) > 0);
}

static int count_children_of_ignored_SIGCHLD(void)
{
    int64_t began = now_ns(CLOCK_MONOTONIC);
    pid_t pid = child_start(30, 5);
    child_start(60, 6);
    EXPECT_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    EXPECT(ms_since(began) >= 20);
    EXPECT_ERRNO(wait(NULL), ECHILD);
    EXPECT(ms_since(began) >= 50);
    return 0;
}

static void ignored_SIGCHLD_leaves_no_status(void)
{
    signal(SIGCHLD, SIG_IGN);
    twice(count_children_of_ignored_SIGCHLD);
    struct sigaction action = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
    sigaction(SIGCHLD, &action, NULL);
    twice(count_children_of_ignored_SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
}

static void SIGCHLD_handler_may_reap(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGCHLD, &action, NULL);
    atomic_set(&handled, 0);
    pid_t pid = child_start(5, 9);
    EXPECT(wait_for_value(&handled, 1));
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, WNOHANG), pid);
    EXPECT_EXITS(status, 9);
    signal(SIGCHLD, SIG_DFL);
}

static const struct check checks[] = {
    CHECK(each_form_waits),
    CHECK(WNOHANG_does_not_wait),
    CHECK(errors_are_told),
    CHECK(stops_and_continues_are_told),
    CHECK(groups_are_told_apart),
    CHECK(waitid_tells_more),
    CHECK(usage_is_told),
    CHECK(threads_wait_for_children_of_others),
    CHECK(one_of_several_waiters_gets_the_child),
    CHECK(waiters_for_any_child_share_them),
    CHECK(handlers_interrupt_unless_restarted),
    CHECK(ignored_SIGCHLD_leaves_no_status),
    CHECK(SIGCHLD_handler_may_reap),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
