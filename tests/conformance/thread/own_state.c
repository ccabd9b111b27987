/* What the kernel keeps with one thread stays with that thread: nice, working directory after unshare, rights that
 * were given up, the tracer; scheduling policies and processors are at least remembered. */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

static sem_t go, ready;

static void *priority_of_child(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)getpriority(PRIO_PROCESS, 0);
}

static void *be_nicer(void *argument)
{
    int before = getpriority(PRIO_PROCESS, 0);
    EXPECT_EQ(nice(3), before + 3);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before + 3);
    EXPECT_EQ((intptr_t)finish(start(priority_of_child, NULL)), before + 3);
    sleep_ms(2);
    sched_yield();
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before + 3);
    EXPECT_EQ(getpriority(PRIO_PROCESS, (id_t)gettid()), before + 3);
    return argument;
}

static void *stay_as_before(void *argument)
{
    int before = getpriority(PRIO_PROCESS, 0);
    sem_post(&ready);
    sem_wait(&go);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
    return argument;
}

static void nice_is_the_caller_s_alone(void)
{
    int before = getpriority(PRIO_PROCESS, 0);
    sem_init(&go, 0, 0);
    sem_init(&ready, 0, 0);
    pthread_t other = start(stay_as_before, NULL);
    sem_wait(&ready);
    finish(start(be_nicer, NULL));
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
    sem_post(&go);
    finish(other);
    EXPECT_EQ((intptr_t)finish(start(priority_of_child, NULL)), before);
}

static pid_t number;

static void *tell_number(void *argument)
{
    number = gettid();
    sem_post(&ready);
    sem_wait(&go);
    sleep_ms(2);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 4);
    return argument;
}

static void priority_of_another_thread(void)
{
    int before = getpriority(PRIO_PROCESS, 0);
    sem_init(&go, 0, 0);
    sem_init(&ready, 0, 0);
    pthread_t thread = start(tell_number, NULL);
    sem_wait(&ready);
    EXPECT_EQ(setpriority(PRIO_PROCESS, (id_t)number, 4), 0);
    sem_post(&go);
    finish(thread);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
}

static void *leave_directory(void *argument)
{
    if (unshare(CLONE_FS) == -1 && errno == EPERM) { /* a container may forbid it */
        return argument;
    }
    EXPECT_EQ(chdir("/"), 0);
    sleep_ms(2);
    char *here = getcwd(NULL, 0);
    EXPECT(strcmp(here, "/") == 0);
    free(here);
    return argument;
}

static void unshared_directory_is_the_caller_s_alone(void)
{
    char *before = getcwd(NULL, 0);
    finish(start(leave_directory, NULL));
    char *after = getcwd(NULL, 0);
    EXPECT(strcmp(before, after) == 0);
    free(before);
    free(after);
}

static void *give_rights_up(void *argument)
{
    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    sleep_ms(1);
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    return argument;
}

static void rights_given_up_are_the_caller_s_alone(void)
{
    finish(start(give_rights_up, NULL));
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}

static void *trace_child(void *argument)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    int allowed = ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0; /* a container may forbid it */
    EXPECT(allowed || errno == EPERM);
    for (int i = 0; allowed && i < 3; i++) {
        EXPECT_EQ(ptrace(PTRACE_INTERRUPT, child, NULL, NULL), 0);
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT(WIFSTOPPED(status));
        sleep_ms(1);
        sched_yield();
        EXPECT_EQ(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
    }
    kill(child, SIGKILL);
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_KILLED(status, SIGKILL);
    return argument;
}

static void tracer_stays_the_tracer(void)
{
    finish(start(trace_child, NULL));
}

static void *name_by_prctl(void *argument)
{
    char name[16] = "";
    EXPECT_EQ(prctl(PR_SET_NAME, "a name that is longer"), 0);
    EXPECT_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    EXPECT(strcmp(name, "a name that is ") == 0);
    EXPECT_EQ(pthread_setname_np(pthread_self(), "another"), 0);
    EXPECT_EQ(prctl(PR_GET_NAME, name), 0);
    EXPECT(strcmp(name, "another") == 0);
    return argument;
}

static void prctl_names_the_caller_alone(void)
{
    char name[16] = "";
    finish(start(name_by_prctl, NULL));
    EXPECT_EQ(prctl(PR_GET_NAME, name), 0);
    EXPECT(strcmp(name, "own_state") == 0);
}

static int policy_in_child(void)
{
    cpu_set_t cpus;
    EXPECT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    EXPECT_EQ(CPU_COUNT(&cpus), 1);
    EXPECT_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_BATCH);
    return 0;
}

static void *choose_policy(void *argument)
{
    struct sched_param param = { 0 };
    struct timespec interval;
    cpu_set_t cpus;
    int policy = -1;
    EXPECT_EQ(pthread_setschedparam(pthread_self(), SCHED_BATCH, &param), 0);
    param.sched_priority = 1;
    EXPECT_EQ(pthread_setschedparam(pthread_self(), SCHED_BATCH, &param), EINVAL);
    EXPECT_EQ(pthread_setschedprio(pthread_self(), 5), EINVAL);
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
    EXPECT_EQ(policy, SCHED_BATCH);
    EXPECT_EQ(param.sched_priority, 0);
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
    EXPECT_EQ(sched_getscheduler(gettid()), SCHED_BATCH);
    EXPECT_EQ(sched_rr_get_interval(gettid(), &interval), 0);
    EXPECT_ERRNO(sched_setscheduler(0, 77, &param), EINVAL);

    CPU_ZERO(&cpus);
    EXPECT_ERRNO(sched_setaffinity(0, sizeof cpus, &cpus), EINVAL);
    EXPECT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus) && seen++ > 0) {
            CPU_CLR(cpu, &cpus);
        }
    }
    EXPECT_EQ(sched_setaffinity(gettid(), sizeof cpus, &cpus), 0);
    CPU_ZERO(&cpus);
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus), 0);
    EXPECT_EQ(CPU_COUNT(&cpus), 1);
    EXPECT_EXITS(child_run(policy_in_child), 0);
    return argument;
}

static void policy_and_processors_are_the_caller_s_alone(void)
{
    cpu_set_t before, after;
    EXPECT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    finish(start(choose_policy, NULL));
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
    EXPECT(CPU_EQUAL(&before, &after));
}

static const struct check checks[] = {
    CHECK(nice_is_the_caller_s_alone),
    CHECK(priority_of_another_thread),
    CHECK(unshared_directory_is_the_caller_s_alone),
    CHECK(rights_given_up_are_the_caller_s_alone),
    CHECK(tracer_stays_the_tracer),
    CHECK(prctl_names_the_caller_alone),
    CHECK(policy_and_processors_are_the_caller_s_alone),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
