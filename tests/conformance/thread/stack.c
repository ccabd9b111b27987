/* Stacks are as large as asked for, and the guard under them kills with SIGSEGV. */
#include "check.h"

#include <alloca.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>

static __attribute__((noinline)) size_t use_stack(size_t bytes)
{
    volatile char *memory = alloca(bytes);
    for (size_t i = 0; i < bytes; i += 512) {
        memory[bytes - 1 - i] = (char)i;
    }
    return (size_t)memory[0] * 0 + bytes;
}

static void *use_stack_of(void *argument)
{
    return (void *)use_stack((size_t)argument);
}

static pthread_t start_with(size_t stack, size_t guard, void *(*function)(void *), void *argument)
{
    pthread_attr_t attr;
    pthread_t thread = 0;
    pthread_attr_init(&attr);
    if (stack) {
        EXPECT_EQ(pthread_attr_setstacksize(&attr, stack), 0);
    }
    EXPECT_EQ(pthread_attr_setguardsize(&attr, guard), 0);
    EXPECT_EQ(pthread_create(&thread, &attr, function, argument), 0);
    pthread_attr_destroy(&attr);
    return thread;
}

static void default_stack_holds_seven_megabytes(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    EXPECT(limit.rlim_cur >= 8 << 20);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ((size_t)finish(start(use_stack_of, (void *)(size_t)(7 << 20))), 7 << 20);
    }
}

static __attribute__((noinline)) int descend(int depth)
{
    volatile char frame[1000];
    frame[depth % 1000] = (char)depth;
    return depth == 0 ? 0 : descend(depth - 1) + 1 + 0 * frame[0];
}

static void *descend_deep(void *argument)
{
    return (void *)(intptr_t)descend((int)(intptr_t)argument);
}

static void deep_recursion_in_many_threads(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = start(descend_deep, (void *)7000);
    }
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ((intptr_t)finish(threads[i]), 7000);
    }
}

static void sizes_asked_for_can_be_used(void)
{
    size_t sizes[] = { 32 << 10, 64 << 10, 80 << 10, 256 << 10, 296 << 10, 1 << 20, 2 << 20, 64 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        /* What glibc itself takes of a stack: the guard, the control block and thread-local storage. */
        size_t usable = sizes[i] - 4096 - 8192;
        EXPECT_EQ((size_t)finish(start_with(sizes[i], 4096, use_stack_of, (void *)usable)), usable);
    }
}

static void *call_much_on_little_stack(void *argument)
{
    char text[200];
    void *words[50];
    snprintf(text, sizeof text, "%s %f %d", "some", 3.25, 42);
    for (int i = 0; i < 50; i++) {
        words[i] = malloc((size_t)i * 100);
    }
    for (int i = 0; i < 50; i++) {
        free(words[i]);
    }
    sleep_ms(1);
    EXPECT(strcmp(text, "some 3.250000 42") == 0);
    return argument;
}

static void least_stack_is_enough_for_libc(void)
{
    pthread_t threads[20];
    for (int i = 0; i < 20; i++) {
        threads[i] = start_with(PTHREAD_STACK_MIN + 4096, 4096, call_much_on_little_stack, NULL);
    }
    for (int i = 0; i < 20; i++) {
        finish(threads[i]);
    }
}

static void *overflow(void *argument)
{
    for (size_t size = 1 << 12;; size += 1 << 12) {
        use_stack(size);
    }
    return argument;
}

static int overflow_default(void)
{
    finish(start(overflow, NULL));
    return 0;
}

static int overflow_small(void)
{
    finish(start_with(64 << 10, 4096, overflow, NULL));
    return 0;
}

static int overflow_among_others(void)
{
    for (int i = 0; i < 10; i++) {
        start_with(64 << 10, 4096, call_much_on_little_stack, NULL);
    }
    finish(start_with(64 << 10, 4096, overflow, NULL));
    return 0;
}

static void overflow_dies_of_SIGSEGV(void)
{
    EXPECT_KILLED(child_run(overflow_default), SIGSEGV);
    EXPECT_KILLED(child_run(overflow_small), SIGSEGV);
    EXPECT_KILLED(child_run(overflow_among_others), SIGSEGV);
}

static void *overflow_from_a_grown_up(void *argument)
{
    int (*function)(void) = (int (*)(void))(uintptr_t)argument;
    EXPECT_KILLED(child_run(function), SIGSEGV);
    return NULL;
}

static void overflow_dies_in_a_child_of_a_thread(void)
{
    finish(start(overflow_from_a_grown_up, (void *)(uintptr_t)overflow_small));
}

static void on_overflow(int number, siginfo_t *info, void *context)
{
    (void)context;
    pthread_attr_t attr;
    void *low;
    size_t size;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &size);
    char *fault = info->si_addr;
    _exit(number == SIGSEGV && fault < (char *)low + size && fault >= (char *)low - (64 << 10) ? 21 : 22);
}

static void *overflow_on_alternate_stack(void *argument)
{
    stack_t stack = { .ss_size = 64 << 10 };
    stack.ss_sp = malloc(stack.ss_size);
    EXPECT_EQ(sigaltstack(&stack, NULL), 0);
    return overflow(argument);
}

static int overflow_with_handler(void)
{
    struct sigaction action = { .sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaction(SIGSEGV, &action, NULL);
    finish(start_with(256 << 10, 4096, overflow_on_alternate_stack, NULL));
    return 0;
}

static void overflow_can_be_handled_on_an_alternate_stack(void)
{
    EXPECT_EXITS(child_run(overflow_with_handler), 21);
}

static const struct check checks[] = {
    CHECK(default_stack_holds_seven_megabytes),
    CHECK(deep_recursion_in_many_threads),
    CHECK(sizes_asked_for_can_be_used),
    CHECK(least_stack_is_enough_for_libc),
    CHECK(overflow_dies_of_SIGSEGV),
    CHECK(overflow_dies_in_a_child_of_a_thread),
    CHECK(overflow_can_be_handled_on_an_alternate_stack),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
