/* coro/: the switch, and what a coroutine is from its first instruction to its last. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <unwind.h>

#include "coro_kit.h"

TestSuite(coro, .init = kit_start);

static void *add_one(void *arg)
{
    return (char *)arg + 1;
}

Test(coro, a_coroutine_runs_its_function_and_hands_back_its_result)
{
    char here;
    cr_assert_eq(task_finish(task_new(add_one, &here)), &here + 1);
}

static void *count_yields(void *arg)
{
    for (int *n = arg; *n < 1000; ++*n)
        task_yield();
    return arg;
}

Test(coro, it_goes_on_where_it_yielded)
{
    int a = 0, b = 0;
    struct task *ta = task_new(count_yields, &a);
    struct task *tb = task_new(count_yields, &b);
    for (int i = 1; i <= 1000; i++) {
        task_run(ta);
        cr_assert_eq(a, i - 1);
        task_run(tb);
        cr_assert_eq(b, i - 1);
    }
    task_finish(ta);
    task_finish(tb);
}

/* Fill what the ABI calls callee-saved from seed, call away(), and say whether anything changed. */
long registers_survive(long seed, void (*away)(void));
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        "registers_survive:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
        "lea 1(%rdi), %rbx; lea 2(%rdi), %rbp; lea 3(%rdi), %r12\n"
        "lea 4(%rdi), %r13; lea 5(%rdi), %r14; lea 6(%rdi), %r15\n"
        "call *%rsi\n"
        "pop %rdi; xor %eax, %eax\n"
        "sub %rdi, %rbx; dec %rbx; or %rbx, %rax\n"
        "sub %rdi, %rbp; sub $2, %rbp; or %rbp, %rax\n"
        "sub %rdi, %r12; sub $3, %r12; or %r12, %rax\n"
        "sub %rdi, %r13; sub $4, %r13; or %r13, %rax\n"
        "sub %rdi, %r14; sub $5, %r14; or %r14, %rax\n"
        "sub %rdi, %r15; sub $6, %r15; or %r15, %rax\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"
        ".popsection");
#else
long registers_survive(long seed, void (*away)(void))
{
    double d[8];
    for (int i = 0; i < 8; i++)
        d[i] = (double)(seed + i);
    away();
    for (int i = 0; i < 8; i++)
        if (d[i] != (double)(seed + i))
            return 1;
    return 0;
}
#endif

static void *keep_registers(void *arg)
{
    long bad = 0;
    for (int i = 0; i < 100; i++)
        bad |= registers_survive((long)arg * 100000 + i * 1000, task_yield);
    return (void *)bad;
}

Test(coro, callee_saved_registers_are_each_coroutine_s_own)
{
    struct task *t[10];
    for (long i = 0; i < 10; i++)
        t[i] = task_new(keep_registers, (void *)(i + 1));
    for (int round = 0; round < 100; round++)
        for (int i = 0; i < 10; i++)
            task_run(t[i]);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(task_finish(t[i]), NULL);
}

static void *rounding(void *arg)
{
    static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    int mode = modes[(long)arg % 4];
    long wrong = 0;
    fesetround(mode);
    for (int i = 0; i < 10; i++) {
        task_yield();
        wrong += fegetround() != mode;
        volatile double one = 1, three = 3;
        double third = one / three;
        wrong += (mode == FE_UPWARD) != (third > 0.33333333333333333);
    }
    return (void *)wrong;
}

Test(coro, rounding_mode_is_each_coroutine_s_own)
{
    struct task *t[8];
    for (long i = 0; i < 8; i++)
        t[i] = task_new(rounding, (void *)i);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < 8; i++)
            task_run(t[i]);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(task_finish(t[i]), NULL);
    cr_assert_eq(fegetround(), FE_TONEAREST);
}

static void *get_round(void *arg)
{
    (void)arg;
    return (void *)(long)fegetround();
}

Test(coro, a_new_coroutine_inherits_its_creator_s_rounding_mode)
{
    fesetround(FE_UPWARD);
    struct task *t = task_new(get_round, NULL);
    fesetround(FE_TONEAREST);
    cr_assert_eq((long)task_finish(t), FE_UPWARD);
    cr_assert_eq(fegetround(), FE_TONEAREST);
}

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *arg)
{
    (void)context;
    return ++*(int *)arg > 100 ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

static void *walk(void *arg)
{
    (void)arg;
    int frames = 0;
    _Unwind_Reason_Code how = _Unwind_Backtrace(count_frame, &frames);
    return (void *)(long)(how == _URC_END_OF_STACK ? frames : -1);
}

Test(coro, an_unwinder_stops_at_the_first_frame)
{
    long frames = (long)task_finish(task_new(walk, NULL));
    cr_assert(frames >= 3 && frames < 10, "%ld frames", frames);
}

static long tp_and_more(void *arg)
{
    *(uintptr_t *)arg = (uintptr_t)__builtin_thread_pointer();
    return 12345678901;
}

Test(coro, coro_call_on_runs_a_function_on_another_control_block)
{
    struct task *t = task_new(add_one, NULL);
    uintptr_t mine = (uintptr_t)__builtin_thread_pointer();
    uintptr_t seen = 0;
    cr_assert_eq(coro_call_on(t->coro.tp, tp_and_more, &seen), 12345678901);
    cr_assert_eq(seen, t->coro.tp);
    cr_assert_eq((uintptr_t)__builtin_thread_pointer(), mine);
    task_finish(t);
}

static __thread long tls_number = 7;

static void *tls_counts(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        tls_number++;
        task_yield();
    }
    return (void *)tls_number;
}

static void without_fsgsbase(void)
{
    kit_start_without(CORO_WITHOUT_FSGSBASE);
    struct task *a = task_new(tls_counts, NULL);
    struct task *b = task_new(tls_counts, NULL);
    for (int i = 0; i < 5; i++) {
        task_run(a);
        task_run(b);
    }
    uintptr_t seen = 0;
    coro_call_on(b->coro.tp, tp_and_more, &seen);
    if (seen != b->coro.tp || task_finish(a) != (void *)12 || task_finish(b) != (void *)12 ||
        tls_number != 7)
        _exit(1);
}

Test(coro_bare, without_fsgsbase_the_kernel_sets_the_thread_pointer)
{
    cr_assert_eq(status_of_child(without_fsgsbase), 0);
}

Test(coro, thread_ids_are_unique_and_above_the_kernel_s)
{
    enum { COUNT = 3000 };
    static struct task *t[COUNT];
    static char seen[1 << 16];
    for (int turn = 0; turn < 3; turn++) {
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < COUNT; i++)
            t[i] = task_new(add_one, NULL);
        pid_t base = libc_tid(t[0]->coro.tp);
        for (int i = 0; i < COUNT; i++) {
            pid_t tid = libc_tid(t[i]->coro.tp);
            cr_assert(tid > 1 << 22 && tid < 1 << 30);
            cr_assert_eq(seen[(tid - base) & 0xffff]++, 0);
        }
        for (int i = 0; i < COUNT; i++)
            task_finish(t[i]);
    }
}

Test(coro, the_caller_s_memory_of_a_finished_coroutine_stays_until_it_is_reused)
{
    struct task *t = task_new(add_one, (void *)41);
    task_finish(t);
    cr_assert_eq(t->result, (void *)42);
    cr_assert_eq(t->done, 1);
    struct coro_attr attr = {64 * 1024, 4096, NULL};
    struct coro *again = coro_new(&attr, KIT_EXTRA, kit_entry, NULL);
    cr_assert_eq((void *)again, (void *)t, "the region that was used last is used first");
    cr_assert_eq(t->result, (void *)42, "what belongs to the caller is left alone");
}

static void *use_some_and_yield(void *arg)
{
    (void)arg;
    char big[20000];
    memset(big, 1, sizeof big);
    task_yield();
    return (void *)(long)big[19999];
}

Test(coro, ten_thousand_live_at_once)
{
    enum { COUNT = 10000 };
    static struct task *t[COUNT];
    for (int i = 0; i < COUNT; i++)
        cr_assert(t[i] = task_new(use_some_and_yield, NULL));
    for (int i = 0; i < COUNT; i++)
        task_run(t[i]);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(task_finish(t[i]), (void *)1);
}
