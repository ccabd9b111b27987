/* Handlers: on which thread and stack they run, what they are told, and what the flags of sigaction change. */
#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

static __thread volatile int own;
static int handled, release;
static char trace[64];

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static void handle_info(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static void mark_own(int number)
{
    own = number;
    atomic_add(&handled, 1);
}

static void actions_are_remembered(void)
{
    struct sigaction action = { .sa_handler = mark_own, .sa_flags = SA_RESTART }, old;
    sigaddset(&action.sa_mask, SIGUSR2);
    EXPECT_EQ(sigaction(SIGUSR1, &action, &old), 0);
    EXPECT(old.sa_handler == SIG_DFL);
    EXPECT_EQ(sigaction(SIGUSR1, NULL, &old), 0);
    EXPECT(old.sa_handler == mark_own);
    EXPECT_EQ(old.sa_flags & SA_RESTART, SA_RESTART);
    EXPECT_EQ(sigismember(&old.sa_mask, SIGUSR2), 1);
    EXPECT_EQ(sigismember(&old.sa_mask, SIGHUP), 0);
    EXPECT(signal(SIGUSR1, SIG_IGN) == mark_own);
    EXPECT(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    EXPECT_ERRNO(sigaction(SIGKILL, &action, NULL), EINVAL);
    EXPECT_ERRNO(sigaction(SIGSTOP, &action, NULL), EINVAL);
    EXPECT_ERRNO(sigaction(0, &action, NULL), EINVAL);
    EXPECT_ERRNO(sigaction(65, &action, NULL), EINVAL);
    EXPECT_ERRNO(sigaction(32, &action, NULL), EINVAL);
    EXPECT_ERRNO(sigaction(33, &action, NULL), EINVAL);
    EXPECT_EQ(SIGRTMIN, 34);
    EXPECT_EQ(SIGRTMAX, 64);
}

static void *raise_here(void *argument)
{
    for (int i = 0; i < 20; i++) {
        own = 0;
        EXPECT_EQ(raise(SIGUSR1), 0);
        EXPECT_EQ(own, SIGUSR1);
        EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
        sched_yield();
    }
    return argument;
}

static void raise_runs_the_handler_here_and_now(void)
{
    pthread_t threads[5];
    handle(SIGUSR1, mark_own, 0);
    atomic_set(&handled, 0);
    raise_here(NULL);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(raise_here, NULL);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_get(&handled), 6 * 40);
}

static void kill_of_the_lonely_process_is_synchronous(void)
{
    handle(SIGUSR1, mark_own, 0);
    own = 0;
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    EXPECT_EQ(own, SIGUSR1);
}

static int ready;

static void *wait_for_release(void *argument)
{
    atomic_add(&ready, 1);
    while (!atomic_get(&release)) {
        sleep_ms(1);
    }
    *(int *)argument = own;
    return NULL;
}

static void handler_runs_on_the_thread_that_was_meant(void)
{
    pthread_t threads[6];
    int owns[6];
    handle(SIGUSR1, mark_own, SA_RESTART);
    handle(SIGUSR2, mark_own, SA_RESTART);
    atomic_set(&handled, 0);
    atomic_set(&release, 0);
    atomic_set(&ready, 0);
    for (int i = 0; i < 6; i++) {
        threads[i] = start(wait_for_release, &owns[i]);
    }
    EXPECT(wait_for_value(&ready, 6));
    for (int i = 0; i < 6; i++) {
        EXPECT_EQ(pthread_kill(threads[i], i % 2 ? SIGUSR1 : SIGUSR2), 0);
    }
    EXPECT(wait_for_value(&handled, 6));
    atomic_set(&release, 1);
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
        EXPECT_EQ(owns[i], i % 2 ? SIGUSR1 : SIGUSR2);
    }
}

static char *stack_low, *stack_high;
static volatile int inside;

static void look_at_stack(int number)
{
    (void)number;
    char local;
    inside = &local >= stack_low && &local < stack_high;
    atomic_add(&handled, 1);
}

static void *sleep_until_handled(void *argument)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    stack_low = low;
    stack_high = stack_low + size;
    atomic_set(&ready, 1);
    while (!atomic_get(&handled)) {
        usleep(900000);
    }
    return argument;
}

static void handler_runs_on_the_stack_of_its_thread(void)
{
    handle(SIGUSR1, look_at_stack, 0);
    for (int i = 0; i < 5; i++) {
        atomic_set(&handled, 0);
        atomic_set(&ready, 0);
        pthread_t thread = start(sleep_until_handled, NULL);
        EXPECT(wait_for_value(&ready, 1));
        sleep_ms(2);
        EXPECT_EQ(pthread_kill(thread, SIGUSR1), 0);
        EXPECT(wait_for_value(&handled, 1));
        EXPECT_EQ(inside, 1);
        finish(thread);
    }
}

static volatile siginfo_t seen;

static void keep_info(int number, siginfo_t *info, void *context)
{
    (void)number;
    EXPECT(context != NULL);
    seen = *info;
    own = 1;
}

static void *send_in_every_way(void *argument)
{
    pid_t here = getpid();
    union sigval value = { .sival_int = 4711 };
    seen = (siginfo_t){ 0 };
    EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
    EXPECT(seen.si_signo == SIGUSR1 && seen.si_code == SI_TKILL && seen.si_pid == here && seen.si_uid == getuid());
    seen = (siginfo_t){ 0 };
    EXPECT_EQ(raise(SIGUSR1), 0);
    EXPECT(seen.si_signo == SIGUSR1 && seen.si_code == SI_TKILL && seen.si_pid == here);
    seen = (siginfo_t){ 0 };
    EXPECT_EQ(pthread_sigqueue(pthread_self(), SIGUSR1, value), 0);
    EXPECT(seen.si_signo == SIGUSR1 && seen.si_code == SI_QUEUE && seen.si_pid == here);
    EXPECT_EQ(seen.si_value.sival_int, 4711);
    return argument;
}

static void info_tells_the_sender(void)
{
    union sigval value = { .sival_ptr = trace };
    handle_info(SIGUSR1, keep_info, 0);
    send_in_every_way(NULL);
    finish(start(send_in_every_way, NULL));
    seen = (siginfo_t){ 0 };
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    EXPECT(seen.si_code == SI_USER && seen.si_pid == getpid() && seen.si_uid == getuid());
    seen = (siginfo_t){ 0 };
    EXPECT_EQ(sigqueue(getpid(), SIGUSR1, value), 0);
    EXPECT(seen.si_code == SI_QUEUE && seen.si_value.sival_ptr == trace);
}

static void nest(int number)
{
    static int depth;
    depth++;
    strcat(trace, depth == 1 ? "(" : "[");
    if (depth == 1) {
        raise(number);
    }
    strcat(trace, depth == 1 ? ")" : "]");
    depth--;
}

static void *raise_nested(void *argument)
{
    trace[0] = 0;
    raise(SIGUSR1);
    EXPECT(strcmp(trace, argument) == 0);
    return NULL;
}

static void NODEFER_allows_nesting(void)
{
    handle(SIGUSR1, nest, 0);
    raise_nested("()()");
    finish(start(raise_nested, "()()"));
    handle(SIGUSR1, nest, SA_NODEFER);
    raise_nested("([])");
    finish(start(raise_nested, "([])"));
}

static void raise_other(int number)
{
    strcat(trace, number == SIGUSR1 ? "<" : "{");
    if (number == SIGUSR1) {
        raise(SIGUSR2);
    }
    strcat(trace, number == SIGUSR1 ? ">" : "}");
}

static void mask_of_the_action_holds_back(void)
{
    struct sigaction action = { .sa_handler = raise_other };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    EXPECT_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    raise_nested("<{}>");
    finish(start(raise_nested, "<{}>"));
    sigaddset(&action.sa_mask, SIGUSR2);
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise_nested("<>{}");
    finish(start(raise_nested, "<>{}"));
}

static void RESETHAND_works_once(void)
{
    struct sigaction now;
    handle(SIGCHLD, mark_own, SA_RESETHAND);
    atomic_set(&handled, 0);
    raise(SIGCHLD);
    raise(SIGCHLD);
    EXPECT_EQ(atomic_get(&handled), 1);
    EXPECT_EQ(sigaction(SIGCHLD, NULL, &now), 0);
    EXPECT(now.sa_handler == SIG_DFL);
}

static void note_number(int number, siginfo_t *info, void *context)
{
    char text[16];
    (void)context;
    snprintf(text, sizeof text, "%d:%d ", number - SIGRTMIN, info->si_value.sival_int);
    strcat(trace, text);
}

static void *queue_signals(void *argument)
{
    sigset_t set, old;
    trace[0] = 0;
    sigemptyset(&set);
    for (int i = 0; i < 3; i++) {
        handle_info(SIGRTMIN + i, note_number, 0);
        sigaddset(&set, SIGRTMIN + i);
    }
    pthread_sigmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 3; i++) {
        for (int number = 2; number >= 0; number--) {
            EXPECT_EQ(pthread_sigqueue(pthread_self(), SIGRTMIN + number, (union sigval){ .sival_int = i }), 0);
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    puts(trace);
    return argument;
}

static void realtime_signals_queue(void)
{
    queue_signals(NULL);
    finish(start(queue_signals, NULL));
}

static void block_in_handler(int number)
{
    (void)number;
    int saved = errno;
    sleep_ms(5);
    for (int i = 0; i < 5; i++) {
        sched_yield();
    }
    atomic_add(&handled, 1);
    errno = saved;
}

static void *raise_blocking(void *argument)
{
    for (int i = 0; i < 5; i++) {
        errno = 77;
        raise(SIGUSR1);
        EXPECT_EQ(errno, 77);
    }
    return argument;
}

static void handlers_of_several_threads_may_block(void)
{
    pthread_t threads[8];
    handle(SIGUSR1, block_in_handler, 0);
    atomic_set(&handled, 0);
    for (int i = 0; i < 8; i++) {
        threads[i] = start(raise_blocking, NULL);
    }
    for (int i = 0; i < 8; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_get(&handled), 40);
}

static void *return_at_once(void *argument)
{
    return argument;
}

static void errors_of_sending(void)
{
    EXPECT_EQ(pthread_kill(pthread_self(), 0), 0);
    EXPECT_EQ(pthread_kill(pthread_self(), 65), EINVAL);
    EXPECT_EQ(pthread_kill(pthread_self(), -1), EINVAL);
    EXPECT_EQ(pthread_kill(pthread_self(), 33), EINVAL);
    EXPECT_ERRNO(kill(getpid(), 65), EINVAL);
    EXPECT_EQ(kill(getpid(), 0), 0);
    EXPECT_ERRNO(kill(0x3fffffff, 0), ESRCH);
    EXPECT_ERRNO(raise(65), EINVAL);
    pthread_t thread = start(return_at_once, NULL);
    sleep_ms(20);
    EXPECT_EQ(pthread_kill(thread, 0), 0);
    EXPECT_EQ(pthread_kill(thread, SIGTERM), 0);
    finish(thread);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    ucontext_t *frame = context;
    EXPECT(info->si_addr == (void *)16);
    own = 2;
#ifdef __x86_64__
    /* Past the two-byte store that faulted. */
    frame->uc_mcontext.gregs[REG_RIP] += 2;
#endif
}

static void *fault_and_go_on(void *argument)
{
#ifdef __x86_64__
    for (int i = 0; i < 10; i++) {
        own = 0;
        __asm__ volatile("movb %%al, (%%rdi)" : : "D"(16), "a"(1) : "memory");
        EXPECT_EQ(own, 2);
        sched_yield();
    }
#endif
    return argument;
}

static void faults_are_handled_on_their_thread(void)
{
    pthread_t threads[4];
    handle_info(SIGSEGV, on_fault, 0);
    fault_and_go_on(NULL);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(fault_and_go_on, NULL);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    signal(SIGSEGV, SIG_DFL);
}

static const struct check checks[] = {
    CHECK(actions_are_remembered),
    CHECK(kill_of_the_lonely_process_is_synchronous),
    CHECK(info_tells_the_sender),
    CHECK(raise_runs_the_handler_here_and_now),
    CHECK(handler_runs_on_the_thread_that_was_meant),
    CHECK(handler_runs_on_the_stack_of_its_thread),
    CHECK(NODEFER_allows_nesting),
    CHECK(mask_of_the_action_holds_back),
    CHECK(RESETHAND_works_once),
    CHECK(realtime_signals_queue),
    CHECK(handlers_of_several_threads_may_block),
    CHECK(errors_of_sending),
    CHECK(faults_are_handled_on_their_thread),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
