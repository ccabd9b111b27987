/* The ways in which a program with live threads ends, each in a forked child whose status is looked at. */
#include "check.h"

#include <semaphore.h>
#include <signal.h>

static void *sleep_for_ever(void *argument)
{
    for (;;) {
        pause();
    }
    return argument;
}

static void *wait_on_a_dead_sem(void *argument)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    sem_wait(&sem);
    return argument;
}

static void crowd_start(void)
{
    for (int i = 0; i < 5; i++) {
        pthread_detach(start(i % 2 ? sleep_for_ever : wait_on_a_dead_sem, NULL));
    }
}

static void print_atexit(void)
{
    puts("atexit");
}

static void print_atexit_second(void)
{
    puts("atexit registered later");
}

static void on_exit_print(int status, void *argument)
{
    printf("on_exit %d %s\n", status, (char *)argument);
}

static int call_exit(void)
{
    crowd_start();
    atexit(print_atexit);
    atexit(print_atexit_second);
    on_exit(on_exit_print, "argument");
    exit(11);
}

static int call__exit(void)
{
    crowd_start();
    atexit(print_atexit);
    _exit(12);
}

static int call_quick_exit(void)
{
    crowd_start();
    atexit(print_atexit);
    at_quick_exit(print_atexit_second);
    quick_exit(13);
}

static int call_abort(void)
{
    crowd_start();
    atexit(print_atexit);
    abort();
}

static int kill_oneself(void)
{
    crowd_start();
    raise(SIGTERM);
    return 0;
}

static int crash(void)
{
    crowd_start();
    *(volatile int *)8 = 1;
    return 0;
}

static void main_thread_ends_the_process(void)
{
    EXPECT_EXITS(child_run(call_exit), 11);
    EXPECT_EXITS(child_run(call__exit), 12);
    EXPECT_EXITS(child_run(call_quick_exit), 13);
    EXPECT_KILLED(child_run(call_abort), SIGABRT);
    EXPECT_KILLED(child_run(kill_oneself), SIGTERM);
    EXPECT_KILLED(child_run(crash), SIGSEGV);
}

static int (*ending)(void);

static void *end_from_thread(void *argument)
{
    let_others_block();
    ending();
    return argument;
}

static int end_from_another_thread(void)
{
    start(end_from_thread, NULL);
    for (;;) {
        pause();
    }
    return 0;
}

static void other_threads_end_the_process(void)
{
    static int (*const endings[])(void) = { call_exit, call__exit, call_quick_exit };
    for (int i = 0; i < 3; i++) {
        ending = endings[i];
        EXPECT_EXITS(child_run(end_from_another_thread), 11 + i);
    }
    ending = call_abort;
    EXPECT_KILLED(child_run(end_from_another_thread), SIGABRT);
    ending = kill_oneself;
    EXPECT_KILLED(child_run(end_from_another_thread), SIGTERM);
    ending = crash;
    EXPECT_KILLED(child_run(end_from_another_thread), SIGSEGV);
}

static void *print_and_end(void *argument)
{
    sleep_ms(30);
    puts(argument);
    return NULL;
}

static int exit_main_first(void)
{
    atexit(print_atexit);
    pthread_detach(start(print_and_end, "last thread"));
    pthread_exit(NULL);
}

static int exit_main_while_joinable(void)
{
    atexit(print_atexit);
    start(print_and_end, "joinable thread");
    pthread_exit(NULL);
}

static int exit_main_alone(void)
{
    atexit(print_atexit);
    pthread_exit(NULL);
}

static void last_thread_s_end_is_exit_0(void)
{
    EXPECT_EXITS(child_run(exit_main_first), 0);
    EXPECT_EXITS(child_run(exit_main_while_joinable), 0);
    EXPECT_EXITS(child_run(exit_main_alone), 0);
}

static pthread_t main_thread;

static void *join_main(void *argument)
{
    void *value = NULL;
    EXPECT_EQ(pthread_join(main_thread, &value), 0);
    puts(value);
    exit(31);
    return argument;
}

static void clean_up(void *argument)
{
    puts(argument);
}

static int exit_main_and_be_joined(void)
{
    main_thread = pthread_self();
    start(join_main, NULL);
    pthread_cleanup_push(clean_up, "main's cleanup handler");
    let_others_block();
    pthread_exit("main's value");
    pthread_cleanup_pop(0);
    return 0;
}

static void main_thread_can_be_joined(void)
{
    EXPECT_EXITS(child_run(exit_main_and_be_joined), 31);
}

static void *cancel_main(void *argument)
{
    void *value = NULL;
    EXPECT_EQ(pthread_cancel(main_thread), 0);
    EXPECT_EQ(pthread_join(main_thread, &value), 0);
    exit(value == PTHREAD_CANCELED ? 32 : 33);
    return argument;
}

static int let_main_be_cancelled(void)
{
    main_thread = pthread_self();
    pthread_cleanup_push(clean_up, "cancelled main's handler");
    start(cancel_main, NULL);
    sleep(100);
    pthread_cleanup_pop(0);
    return 0;
}

static void main_thread_can_be_cancelled(void)
{
    EXPECT_EXITS(child_run(let_main_be_cancelled), 32);
}

static void *exit_in_handler_of_exit(void *argument)
{
    exit(41);
    return argument;
}

static int several_threads_exit(void)
{
    start(exit_in_handler_of_exit, NULL);
    start(exit_in_handler_of_exit, NULL);
    sleep_ms(1);
    exit(41);
}

static void threads_may_race_to_exit(void)
{
    for (int i = 0; i < 10; i++) {
        EXPECT_EXITS(child_run(several_threads_exit), 41);
    }
}

static void block_in_atexit(void)
{
    pthread_t thread = start(print_and_end, "thread made in atexit");
    pthread_join(thread, NULL);
    puts("atexit that blocked");
}

static int exit_with_blocking_handler(void)
{
    crowd_start();
    atexit(block_in_atexit);
    exit(42);
}

static void atexit_handlers_may_use_threads(void)
{
    EXPECT_EXITS(child_run(exit_with_blocking_handler), 42);
}

static const struct check checks[] = {
    CHECK(main_thread_ends_the_process),
    CHECK(other_threads_end_the_process),
    CHECK(last_thread_s_end_is_exit_0),
    CHECK(main_thread_can_be_joined),
    CHECK(main_thread_can_be_cancelled),
    CHECK(threads_may_race_to_exit),
    CHECK(atexit_handlers_may_use_threads),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
