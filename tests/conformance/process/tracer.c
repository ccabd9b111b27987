/* A debugger with several threads: the thread that made the child traces it, whatever happens meanwhile. */
#include "check.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

enum { STOPS = 4 };

static int stop;

static void *tick(void *argument)
{
    while (!atomic_get(&stop))
        sleep_ms(1);
    return argument;
}

static int traced(void)
{
    EXPECT_EQ(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    for (int i = 0; i < STOPS; i++) {
        if (i % 2)
            sleep_ms(50); /* stops while the tracer waits */
        raise(SIGUSR1);   /* the tracer keeps it from arriving */
    }
    _exit(check_failures ? 99 : 23);
}

/* What blocks in the kernel unseen, and computing, may continue on another OS thread. */
static void change_the_os_thread(void)
{
    const struct timespec t = {0, 5000000};
    long result;
    for (volatile int i = 0; i < 5000000; i++) {
    }
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
    EXPECT_EQ(result, 0);
}

static void trace(pid_t pid)
{
    int status;
    EXPECT(pid > 0);
    for (int i = 0; i < STOPS; i++) {
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1);
        change_the_os_thread();
        EXPECT_EQ(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EXITS(status, 23);
}

static void *trace_a_fork(void *argument)
{
    pid_t pid = fork();
    if (pid == 0)
        traced();
    trace(pid);
    return argument;
}

static void each_thread_traces_its_own(void)
{
    pthread_t tracers[3];
    for (int i = 0; i < 3; i++)
        tracers[i] = start(trace_a_fork, NULL);
    trace_a_fork(NULL);
    for (int i = 0; i < 3; i++)
        finish(tracers[i]);
}

/* Forked before there are threads. */
static void the_main_thread_traces_an_older_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        traced();
    pthread_t ticker = start(tick, NULL);
    trace(pid);
    atomic_set(&stop, 1);
    finish(ticker);
}

static const struct check checks[] = {
    CHECK(the_main_thread_traces_an_older_child),
    CHECK(each_thread_traces_its_own),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
