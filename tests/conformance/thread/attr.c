/* Thread attributes: what is set is got back, wrong values are refused, getattr_np tells of a running thread. */
#include "check.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

static void defaults(void)
{
    pthread_attr_t attr;
    struct sched_param param;
    struct rlimit limit;
    int value = -1;
    size_t size = 0;
    EXPECT_EQ(pthread_attr_init(&attr), 0);
    EXPECT_EQ(pthread_attr_getdetachstate(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_CREATE_JOINABLE);
    EXPECT_EQ(pthread_attr_getguardsize(&attr, &size), 0);
    EXPECT_EQ(size, sysconf(_SC_PAGESIZE));
    EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
    getrlimit(RLIMIT_STACK, &limit);
    EXPECT_EQ(size, limit.rlim_cur == RLIM_INFINITY ? 2 << 20 : limit.rlim_cur);
    EXPECT_EQ(pthread_attr_getinheritsched(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_INHERIT_SCHED);
    EXPECT_EQ(pthread_attr_getschedpolicy(&attr, &value), 0);
    EXPECT_EQ(value, SCHED_OTHER);
    EXPECT_EQ(pthread_attr_getschedparam(&attr, &param), 0);
    EXPECT_EQ(param.sched_priority, 0);
    EXPECT_EQ(pthread_attr_getscope(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_SCOPE_SYSTEM);
    EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

static void setters_and_getters(void)
{
    pthread_attr_t attr;
    struct sched_param param = { .sched_priority = 3 };
    int value = -1;
    size_t size = 0;
    void *address;
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setdetachstate(&attr, 42), EINVAL);
    EXPECT_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
    EXPECT_EQ(pthread_attr_getdetachstate(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_CREATE_DETACHED);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN - 1), EINVAL);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, 123456), 0);
    EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
    EXPECT_EQ(size, 123456);
    EXPECT_EQ(pthread_attr_setguardsize(&attr, 12345), 0);
    EXPECT_EQ(pthread_attr_getguardsize(&attr, &size), 0);
    EXPECT_EQ(size, 12345);
    EXPECT_EQ(pthread_attr_setschedpolicy(&attr, 77), EINVAL);
    EXPECT_EQ(pthread_attr_setschedpolicy(&attr, SCHED_RR), 0);
    EXPECT_EQ(pthread_attr_getschedpolicy(&attr, &value), 0);
    EXPECT_EQ(value, SCHED_RR);
    EXPECT_EQ(pthread_attr_setschedparam(&attr, &param), 0);
    param.sched_priority = 0;
    EXPECT_EQ(pthread_attr_getschedparam(&attr, &param), 0);
    EXPECT_EQ(param.sched_priority, 3);
    param.sched_priority = 1000;
    EXPECT_EQ(pthread_attr_setschedparam(&attr, &param), EINVAL);
    EXPECT_EQ(pthread_attr_setinheritsched(&attr, 5), EINVAL);
    EXPECT_EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
    EXPECT_EQ(pthread_attr_getinheritsched(&attr, &value), 0);
    EXPECT_EQ(value, PTHREAD_EXPLICIT_SCHED);
    EXPECT_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS), ENOTSUP);
    EXPECT_EQ(pthread_attr_setscope(&attr, 9), EINVAL);
    EXPECT_EQ(pthread_attr_setstack(&attr, &attr, 1), EINVAL);
    EXPECT_EQ(pthread_attr_setstack(&attr, (void *)0x100000, 1 << 20), 0);
    EXPECT_EQ(pthread_attr_getstack(&attr, &address, &size), 0);
    EXPECT(address == (void *)0x100000);
    EXPECT_EQ(size, 1 << 20);
    EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

static void affinity_and_mask_of_attributes(void)
{
    pthread_attr_t attr;
    cpu_set_t set, got;
    sigset_t mask, got_mask;
    pthread_attr_init(&attr);
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    EXPECT_EQ(pthread_attr_setaffinity_np(&attr, sizeof set, &set), 0);
    EXPECT_EQ(pthread_attr_getaffinity_np(&attr, sizeof got, &got), 0);
    EXPECT(CPU_EQUAL(&set, &got));
    EXPECT_EQ(pthread_attr_getsigmask_np(&attr, &got_mask), PTHREAD_ATTR_NO_SIGMASK_NP);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    EXPECT_EQ(pthread_attr_setsigmask_np(&attr, &mask), 0);
    EXPECT_EQ(pthread_attr_getsigmask_np(&attr, &got_mask), 0);
    EXPECT_EQ(sigismember(&got_mask, SIGUSR2), 1);
    EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

static void *ask_mask(void *argument)
{
    pthread_sigmask(SIG_SETMASK, NULL, argument);
    return NULL;
}

static void mask_attribute_is_the_thread_s_first_mask(void)
{
    pthread_attr_t attr;
    sigset_t mask, got;
    pthread_t thread;
    pthread_attr_init(&attr);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    EXPECT_EQ(pthread_attr_setsigmask_np(&attr, &mask), 0);
    EXPECT_EQ(pthread_create(&thread, &attr, ask_mask, &got), 0);
    finish(thread);
    EXPECT_EQ(sigismember(&got, SIGUSR2), 1);
    EXPECT_EQ(sigismember(&got, SIGUSR1), 0);
    pthread_attr_destroy(&attr);
}

struct seen {
    size_t stack_size, guard_size;
    void *low;
    int detach_state, policy, inherit, local_inside;
};

static void look_at(pthread_t thread, struct seen *seen)
{
    pthread_attr_t attr;
    EXPECT_EQ(pthread_getattr_np(thread, &attr), 0);
    EXPECT_EQ(pthread_attr_getstack(&attr, &seen->low, &seen->stack_size), 0);
    EXPECT_EQ(pthread_attr_getguardsize(&attr, &seen->guard_size), 0);
    EXPECT_EQ(pthread_attr_getdetachstate(&attr, &seen->detach_state), 0);
    EXPECT_EQ(pthread_attr_getschedpolicy(&attr, &seen->policy), 0);
    EXPECT_EQ(pthread_attr_getinheritsched(&attr, &seen->inherit), 0);
    EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

static void *look_at_self(void *argument)
{
    struct seen *seen = argument;
    char local;
    look_at(pthread_self(), seen);
    seen->local_inside = &local >= (char *)seen->low && &local < (char *)seen->low + seen->stack_size;
    return NULL;
}

static void running_thread_tells_its_stack(void)
{
    size_t sizes[] = { PTHREAD_STACK_MIN, 32 << 10, 64 << 10, 100000, 256 << 10, 296 << 10, 1 << 20, 16 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        struct seen seen;
        pthread_attr_init(&attr);
        EXPECT_EQ(pthread_attr_setstacksize(&attr, sizes[i]), 0);
        EXPECT_EQ(pthread_attr_setguardsize(&attr, i % 2 ? 8192 : 4096), 0);
        EXPECT_EQ(pthread_create(&thread, &attr, look_at_self, &seen), 0);
        finish(thread);
        EXPECT_EQ(seen.local_inside, 1);
        /* Whole pages; glibc counts the guard in for sizes that are given. */
        EXPECT(seen.stack_size + 8192 >= sizes[i] && seen.stack_size <= sizes[i] + 8192);
        EXPECT_EQ(seen.guard_size, i % 2 ? 8192 : 4096);
        EXPECT_EQ(seen.detach_state, PTHREAD_CREATE_JOINABLE);
        EXPECT_EQ(seen.policy, SCHED_OTHER);
        pthread_attr_destroy(&attr);
    }
}

static void default_thread_and_main_tell_theirs(void)
{
    struct seen seen;
    struct rlimit limit;
    finish(start(look_at_self, &seen));
    EXPECT_EQ(seen.local_inside, 1);
    getrlimit(RLIMIT_STACK, &limit);
    EXPECT(limit.rlim_cur == RLIM_INFINITY || seen.stack_size >= limit.rlim_cur - 16384);
    look_at_self(&seen);
    EXPECT_EQ(seen.local_inside, 1);
    EXPECT(limit.rlim_cur == RLIM_INFINITY || seen.stack_size >= limit.rlim_cur / 2);
}

static int let_go;

static void *wait_to_be_looked_at(void *argument)
{
    *(char **)argument = (char *)&argument;
    while (!atomic_get(&let_go)) {
        sleep_ms(1);
    }
    return NULL;
}

static void one_thread_may_look_at_another(void)
{
    char *local = NULL;
    struct seen seen;
    atomic_set(&let_go, 0);
    pthread_t thread = start(wait_to_be_looked_at, &local);
    let_others_block();
    look_at(thread, &seen);
    EXPECT(local == NULL || (local >= (char *)seen.low && local < (char *)seen.low + seen.stack_size));
    EXPECT_EQ(seen.detach_state, PTHREAD_CREATE_JOINABLE);
    pthread_detach(thread);
    look_at(thread, &seen);
    EXPECT_EQ(seen.detach_state, PTHREAD_CREATE_DETACHED);
    atomic_set(&let_go, 1);
    sleep_ms(10);
}

static void default_attributes_can_be_changed(void)
{
    pthread_attr_t attr, old;
    struct seen seen;
    size_t size = 0;
    EXPECT_EQ(pthread_getattr_default_np(&old), 0);
    EXPECT_EQ(pthread_getattr_default_np(&attr), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, 1 << 20), 0);
    EXPECT_EQ(pthread_setattr_default_np(&attr), 0);
    EXPECT_EQ(pthread_getattr_default_np(&attr), 0);
    EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
    EXPECT_EQ(size, 1 << 20);
    finish(start(look_at_self, &seen));
    EXPECT(seen.stack_size <= (1 << 20) && seen.stack_size >= (1 << 20) - 16384);
    EXPECT_EQ(pthread_setattr_default_np(&old), 0);
    finish(start(look_at_self, &seen));
    EXPECT(seen.stack_size > (1 << 20));
    pthread_attr_destroy(&attr);
    pthread_attr_destroy(&old);
}

static void program_s_own_stacks(void)
{
    enum { SIZE = 128 << 10 };
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    for (int i = 0; i < 20; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        struct seen seen;
        pthread_attr_init(&attr);
        memset(memory, 0xee, SIZE);
        EXPECT_EQ(pthread_attr_setstack(&attr, memory, SIZE), 0);
        EXPECT_EQ(pthread_create(&thread, &attr, look_at_self, &seen), 0);
        finish(thread);
        EXPECT_EQ(seen.local_inside, 1);
        EXPECT((char *)seen.low >= memory && (char *)seen.low + seen.stack_size <= memory + SIZE);
        pthread_attr_destroy(&attr);
    }
    EXPECT_EQ(munmap(memory, SIZE), 0);
}

static void *count_twice(void *argument)
{
    sleep_ms(2);
    atomic_add(argument, 1);
    return NULL;
}

static void program_s_stacks_may_be_reused_at_once(void)
{
    enum { SIZE = 64 << 10 };
    char *memory = aligned_alloc(4096, SIZE);
    int count = 0;
    for (int i = 0; i < 30; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        pthread_attr_init(&attr);
        EXPECT_EQ(pthread_attr_setstack(&attr, memory, SIZE), 0);
        EXPECT_EQ(pthread_create(&thread, &attr, count_twice, &count), 0);
        finish(thread);
        memset(memory, i, SIZE);
        pthread_attr_destroy(&attr);
    }
    EXPECT_EQ(count, 30);
    free(memory);
}

static const struct check checks[] = {
    CHECK(defaults),
    CHECK(setters_and_getters),
    CHECK(affinity_and_mask_of_attributes),
    CHECK(mask_attribute_is_the_thread_s_first_mask),
    CHECK(running_thread_tells_its_stack),
    CHECK(default_thread_and_main_tell_theirs),
    CHECK(one_thread_may_look_at_another),
    CHECK(default_attributes_can_be_changed),
    CHECK(program_s_own_stacks),
    CHECK(program_s_stacks_may_be_reused_at_once),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
