/* Alternate signal stacks belong to threads. */
#include "check.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>

enum { SIZE = 64 << 10 };

static __thread char *volatile own_stack;
static __thread volatile int inside, on_stack_flag;
static __thread sigjmp_buf back;
static int waiting, release, was_inside;

static void look(int number)
{
    char local;
    stack_t now;
    (void)number;
    inside = own_stack && &local >= own_stack && &local < own_stack + SIZE;
    sigaltstack(NULL, &now);
    on_stack_flag = now.ss_flags;
    for (int i = 0; i < 3; i++) {
        sched_yield();
    }
    sleep_ms(1);
    inside += own_stack && &local >= own_stack && &local < own_stack + SIZE;
}

static void handle(void (*handler)(int), int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

static void stack_install(void)
{
    stack_t stack = { .ss_size = SIZE }, old;
    own_stack = malloc(SIZE);
    stack.ss_sp = own_stack;
    EXPECT_EQ(sigaltstack(&stack, &old), 0);
    EXPECT_EQ(old.ss_flags, SS_DISABLE);
    EXPECT_EQ(sigaltstack(NULL, &old), 0);
    EXPECT(old.ss_sp == own_stack && old.ss_size == SIZE && old.ss_flags == 0);
}

static void stack_remove(void)
{
    stack_t disabled = { .ss_flags = SS_DISABLE }, old;
    EXPECT_EQ(sigaltstack(&disabled, &old), 0);
    EXPECT(old.ss_sp == own_stack && old.ss_flags == 0);
    EXPECT_EQ(sigaltstack(NULL, &old), 0);
    EXPECT_EQ(old.ss_flags, SS_DISABLE);
    memset(own_stack, 0xdd, SIZE);
    free(own_stack);
    own_stack = NULL;
}

static void *use_stack(void *argument)
{
    stack_install();
    for (int i = 0; i < 5; i++) {
        stack_t now;
        inside = 0;
        raise(SIGUSR1);
        EXPECT_EQ(inside, 2);
        EXPECT_EQ(on_stack_flag, SS_ONSTACK);
        sched_yield();
        EXPECT_EQ(sigaltstack(NULL, &now), 0);
        EXPECT(now.ss_sp == own_stack && now.ss_flags == 0);
    }
    if (argument == NULL) {
        stack_remove();
    }
    return NULL;
}

static void each_thread_has_its_own(void)
{
    pthread_t threads[8];
    handle(look, SA_ONSTACK);
    use_stack(NULL);
    for (int i = 0; i < 8; i++) {
        threads[i] = start(use_stack, NULL);
    }
    for (int i = 0; i < 8; i++) {
        finish(threads[i]);
    }
}

static void *has_none(void *argument)
{
    stack_t now;
    EXPECT_EQ(sigaltstack(NULL, &now), 0);
    EXPECT_EQ(now.ss_flags, SS_DISABLE);
    raise(SIGUSR1);
    EXPECT_EQ(inside, 0);
    return argument;
}

static void threads_start_without_one(void)
{
    handle(look, SA_ONSTACK);
    stack_install();
    for (int i = 0; i < 10; i++) {
        finish(start(has_none, NULL));
    }
    inside = 0;
    raise(SIGUSR1);
    EXPECT_EQ(inside, 2);
    stack_remove();
}

static void forgotten_stacks_do_no_harm(void)
{
    handle(look, SA_ONSTACK);
    /* These threads end with the stack installed; the memory is not even freed by them. */
    for (int i = 0; i < 5; i++) {
        finish(start(use_stack, &waiting));
        finish(start(has_none, NULL));
    }
}

static void handlers_without_the_flag_stay_where_they_are(void)
{
    handle(look, 0);
    stack_install();
    inside = 0;
    raise(SIGUSR1);
    EXPECT_EQ(inside, 0);
    EXPECT_EQ(on_stack_flag, 0);
    stack_remove();
}

static volatile int change_error;

static void change_inside(int number)
{
    stack_t disabled = { .ss_flags = SS_DISABLE };
    (void)number;
    change_error = sigaltstack(&disabled, NULL) == -1 ? errno : 0;
}

static void *refuse(void *argument)
{
    stack_t small = { .ss_sp = &small, .ss_size = 100 }, odd = { .ss_flags = 0x1234 };
    EXPECT_ERRNO(sigaltstack(&small, NULL), ENOMEM);
    EXPECT_ERRNO(sigaltstack(&odd, NULL), EINVAL);
    stack_install();
    change_error = 0;
    raise(SIGUSR1);
    EXPECT_EQ(change_error, EPERM);
    stack_remove();
    return argument;
}

static void wrong_changes_are_refused(void)
{
    handle(change_inside, SA_ONSTACK);
    refuse(NULL);
    finish(start(refuse, NULL));
}

static void jump_back(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

static void *jump_off(void *argument)
{
    stack_install();
    for (int i = 0; i < 20; i++) {
        stack_t now;
        if (sigsetjmp(back, 1) == 0) {
            raise(SIGUSR1);
            EXPECT(0);
        }
        EXPECT_EQ(sigaltstack(NULL, &now), 0);
        EXPECT_EQ(now.ss_flags, 0);
        sched_yield();
    }
    stack_remove();
    return argument;
}

static void handlers_may_jump_off(void)
{
    pthread_t threads[5];
    handle(jump_back, SA_ONSTACK);
    jump_off(NULL);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(jump_off, NULL);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
}



static void note_inside(int number)
{
    char local;
    (void)number;
    atomic_set(&was_inside, own_stack && &local >= own_stack && &local < own_stack + SIZE ? 1 : 2);
}

static void *block_with_stack(void *argument)
{
    stack_install();
    atomic_set(&waiting, 1);
    while (!atomic_get(&release)) {
        usleep(900000);
    }
    stack_remove();
    return argument;
}

static void blocked_threads_get_theirs(void)
{
    handle(note_inside, SA_ONSTACK);
    for (int i = 0; i < 5; i++) {
        atomic_set(&waiting, 0);
        atomic_set(&release, 0);
        atomic_set(&was_inside, 0);
        pthread_t thread = start(block_with_stack, NULL);
        EXPECT(wait_for_value(&waiting, 1));
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
        EXPECT(wait_for_value(&was_inside, 1));
        atomic_set(&release, 1); /* not before: it would go on without a stack */
        pthread_kill(thread, SIGUSR1);
        finish(thread);
    }
}

static const struct check checks[] = {
    CHECK(each_thread_has_its_own),
    CHECK(threads_start_without_one),
    CHECK(forgotten_stacks_do_no_harm),
    CHECK(handlers_without_the_flag_stay_where_they_are),
    CHECK(wrong_changes_are_refused),
    CHECK(handlers_may_jump_off),
    CHECK(blocked_threads_get_theirs),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
