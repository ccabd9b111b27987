/* What a thread is called, where it may run, which number and clock it has. */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>

static void *name_oneself(void *argument)
{
    char name[16], got[16] = "";
    snprintf(name, sizeof name, "worker-%d", (int)(intptr_t)argument);
    EXPECT_EQ(pthread_setname_np(pthread_self(), name), 0);
    sched_yield();
    EXPECT_EQ(pthread_getname_np(pthread_self(), got, sizeof got), 0);
    EXPECT(strcmp(got, name) == 0);
    sleep_ms(1);
    EXPECT_EQ(pthread_getname_np(pthread_self(), got, sizeof got), 0);
    EXPECT(strcmp(got, name) == 0);
    return NULL;
}

static void names_are_per_thread(void)
{
    pthread_t threads[20];
    char before[16] = "", after[16] = "";
    EXPECT_EQ(pthread_getname_np(pthread_self(), before, sizeof before), 0);
    EXPECT(strcmp(before, "identity") == 0);
    for (intptr_t i = 0; i < 20; i++) {
        threads[i] = start(name_oneself, (void *)i);
    }
    for (intptr_t i = 0; i < 20; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(pthread_getname_np(pthread_self(), after, sizeof after), 0);
    EXPECT(strcmp(after, before) == 0);
}

static sem_t go;

static void *wait_for_go(void *argument)
{
    sem_wait(&go);
    return argument;
}

static void names_inherited_and_set_from_outside(void)
{
    char name[16] = "";
    sem_init(&go, 0, 0);
    pthread_t thread = start(wait_for_go, NULL);
    let_others_block();
    EXPECT_EQ(pthread_getname_np(thread, name, sizeof name), 0);
    EXPECT(strcmp(name, "identity") == 0);
    EXPECT_EQ(pthread_setname_np(thread, "fifteen letters"), 0);
    EXPECT_EQ(pthread_getname_np(thread, name, sizeof name), 0);
    EXPECT(strcmp(name, "fifteen letters") == 0);
    EXPECT_EQ(pthread_setname_np(thread, "sixteen letters!"), ERANGE);
    EXPECT_EQ(pthread_getname_np(thread, name, 4), ERANGE);
    sem_post(&go);
    finish(thread);
}

static int pid_compare(const void *a, const void *b)
{
    return *(const pid_t *)a - *(const pid_t *)b;
}

enum { LIVE = 1000 };
static pid_t tids[LIVE];

static void *note_tid(void *argument)
{
    int me = (int)(intptr_t)argument;
    tids[me] = gettid();
    EXPECT_EQ(syscall(SYS_gettid), tids[me]);
    sem_wait(&go);
    EXPECT_EQ(gettid(), tids[me]);
    return NULL;
}

static void thread_numbers_are_unique_among_the_living(void)
{
    static pthread_t threads[LIVE];
    sem_init(&go, 0, 0);
    for (intptr_t i = 0; i < LIVE; i++) {
        threads[i] = start(note_tid, (void *)i);
    }
    for (int i = 0; i < LIVE; i++) {
        sem_post(&go);
    }
    for (int i = 0; i < LIVE; i++) {
        finish(threads[i]);
    }
    qsort(tids, LIVE, sizeof tids[0], pid_compare);
    for (int i = 0; i < LIVE; i++) {
        EXPECT(tids[i] > 0 && tids[i] != getpid());
        EXPECT(i == 0 || tids[i] != tids[i - 1]);
    }
    EXPECT_EQ(gettid(), getpid());
}

static void *ask_pids(void *argument)
{
    pid_t *pids = argument;
    pids[0] = getpid();
    pids[1] = getppid();
    pids[2] = getpgrp();
    pids[3] = getsid(0);
    return NULL;
}

static void process_numbers_are_shared(void)
{
    pid_t here[4], there[4];
    ask_pids(here);
    finish(start(ask_pids, there));
    EXPECT(memcmp(here, there, sizeof here) == 0);
}

static void *pin_oneself(void *argument)
{
    cpu_set_t all, one, got;
    (void)argument;
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
        }
    }
    EXPECT_EQ(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
    sched_yield();
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof got, &got), 0);
    EXPECT(CPU_EQUAL(&one, &got));
    CPU_ZERO(&got);
    EXPECT_EQ(pthread_setaffinity_np(pthread_self(), sizeof got, &got), EINVAL);
    return NULL;
}

static void affinity_is_per_thread(void)
{
    cpu_set_t before, after;
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    finish(start(pin_oneself, NULL));
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof after, &after), 0);
    EXPECT(CPU_EQUAL(&before, &after));
    EXPECT_EQ(pthread_getaffinity_np(pthread_self(), 1, &after), EINVAL);
    int cpu = sched_getcpu();
    EXPECT(cpu >= 0 && CPU_ISSET(cpu, &before));
}

static void *change_policy(void *argument)
{
    struct sched_param param = { .sched_priority = 1 }, got;
    int policy = -1;
    (void)argument;
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &got), 0);
    EXPECT_EQ(policy, SCHED_OTHER);
    EXPECT_EQ(got.sched_priority, 0);
    EXPECT_EQ(pthread_setschedparam(pthread_self(), SCHED_OTHER, &param), EINVAL);
    EXPECT_EQ(pthread_setschedparam(pthread_self(), 99, &param), EINVAL);
    param.sched_priority = 0;
    EXPECT_EQ(pthread_setschedparam(pthread_self(), SCHED_FIFO, &param), EINVAL);
    EXPECT_EQ(pthread_setschedparam(pthread_self(), SCHED_BATCH, &param), 0);
    sched_yield();
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &got), 0);
    EXPECT_EQ(policy, SCHED_BATCH);
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
    param.sched_priority = 2;
    printf("realtime %d\n", pthread_setschedparam(pthread_self(), SCHED_RR, &param));
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &got), 0);
    printf("policy %d priority %d\n", policy, got.sched_priority);
    printf("setschedprio %d", pthread_setschedprio(pthread_self(), 3));
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &got), 0);
    printf(" priority %d\n", got.sched_priority);
    return NULL;
}

static void scheduling_is_per_thread(void)
{
    struct sched_param param;
    int policy = -1;
    finish(start(change_policy, NULL));
    EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
    EXPECT_EQ(policy, SCHED_OTHER);
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
}

static void *burn_and_ask(void *argument)
{
    clockid_t clock;
    struct timespec cpu;
    volatile unsigned long work = 0;
    int64_t own_before = now_ns(CLOCK_THREAD_CPUTIME_ID);
    (void)argument;
    EXPECT_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
    int64_t before = now_ns(clock);
    for (int i = 0; i < 3000000; i++) {
        work += (unsigned long)i;
    }
    int64_t after = now_ns(clock);
    EXPECT(work > 0);
    EXPECT(after > before);
    EXPECT(now_ns(CLOCK_THREAD_CPUTIME_ID) > own_before);
    EXPECT_EQ(clock_gettime(clock, &cpu), 0);
    return NULL;
}

static void cpu_clocks_go_on(void)
{
    clockid_t clock;
    struct timespec cpu;
    finish(start(burn_and_ask, NULL));
    sem_init(&go, 0, 0);
    pthread_t thread = start(wait_for_go, NULL);
    let_others_block();
    EXPECT_EQ(pthread_getcpuclockid(thread, &clock), 0);
    EXPECT_EQ(clock_gettime(clock, &cpu), 0);
    sem_post(&go);
    finish(thread);
    EXPECT_EQ(clock_getcpuclockid(0, &clock), 0);
    EXPECT_EQ(clock_gettime(clock, &cpu), 0);
}

static void concurrency_level_is_remembered(void)
{
    EXPECT_EQ(pthread_getconcurrency(), 0);
    EXPECT_EQ(pthread_setconcurrency(4), 0);
    EXPECT_EQ(pthread_getconcurrency(), 4);
    EXPECT_EQ(pthread_setconcurrency(-1), EINVAL);
    EXPECT_EQ(pthread_setconcurrency(0), 0);
}

static const struct check checks[] = {
    CHECK(names_are_per_thread),
    CHECK(names_inherited_and_set_from_outside),
    CHECK(thread_numbers_are_unique_among_the_living),
    CHECK(process_numbers_are_shared),
    CHECK(affinity_is_per_thread),
    CHECK(scheduling_is_per_thread),
    CHECK(cpu_clocks_go_on),
    CHECK(concurrency_level_is_remembered),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
