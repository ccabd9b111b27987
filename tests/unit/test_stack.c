/* coro/stack.c: where coroutines live. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "coro_kit.h"

TestSuite(stack, .init = kit_start);

static void *nothing(void *arg)
{
    return arg;
}

static void *hold(void *arg)
{
    task_yield();
    return arg;
}

static struct task *new_with(size_t stack, size_t guard)
{
    struct coro_attr attr = {stack, guard, NULL};
    return task_new_on(&attr, hold, NULL);
}

Test(stack, it_is_described_as_pthread_getattr_np_describes_a_native_one)
{
    static const size_t sizes[] = {16384, 65536, 100000, 1 << 20, 8 << 20, 64 << 20};
    static const size_t guards[] = {0, 1, 4096, 10000, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < sizeof guards / sizeof *guards; j++) {
            struct task *t = new_with(sizes[i], guards[j]);
            struct coro_stack s;
            coro_stack_of(&t->coro, &s);
            cr_assert_eq(s.size, (sizes[i] + 4095) & ~4095ul);
            cr_assert_eq(s.guard_size, (guards[j] + 4095) & ~4095ul);
            cr_assert_eq((uintptr_t)s.low % 4096, 0);
            char *high = (char *)s.low + s.size;
            cr_assert((char *)t > (char *)s.low && (char *)t < high, "libc's block lies in it");
            cr_assert((char *)t->coro.sp > high - 16384, "the stack begins at its end");

            pthread_attr_t attr;
            void *low;
            size_t size, guard;
            pid_t tid = libc_tid(t->coro.tp);
            libc_set_tid(t->coro.tp, getpid()); /* it asks the kernel for the affinity */
            cr_assert_eq(pthread_getattr_np((pthread_t)libc_self(t->coro.tp), &attr), 0);
            libc_set_tid(t->coro.tp, tid);
            pthread_attr_getstack(&attr, &low, &size);
            pthread_attr_getguardsize(&attr, &guard);
            pthread_attr_destroy(&attr);
            cr_assert_eq(low, s.low);
            cr_assert_eq(size, s.size);
            cr_assert_eq(guard, s.guard_size);
            task_finish(t);
        }
    }
}

/* All of it, down to what pthread_getattr_np() calls its low end. */
static void *touch_all(void *arg)
{
    struct coro_stack s;
    coro_stack_of(&kit_current->coro, &s);
    for (char *p = (char *)__builtin_frame_address(0) - 256; p >= (char *)s.low; p -= 4096)
        *(volatile char *)p = 1;
    *(volatile char *)s.low = 1;
    return arg;
}

Test(stack, all_that_was_asked_for_is_usable)
{
    for (size_t size = 16384; size <= 32 << 20; size *= 2) {
        struct coro_attr attr = {size, 4096, NULL};
        task_finish(task_new_on(&attr, touch_all, NULL));
    }
}

static int deeper(int n)
{
    volatile char frame[512];
    frame[0] = (char)n;
    return n == 0 ? 0 : deeper(n + 1) + frame[0];
}

static void *overflow(void *arg)
{
    (void)arg;
    return (void *)(long)deeper(1);
}

enum { DIED_ON_GUARD = 50, DIED_ELSEWHERE = 51 };

static size_t overflow_size;
static struct coro_stack victim, below;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    char *at = info->si_addr;
    char *end_of_neighbour = (char *)below.low + below.size;
    _exit(at >= end_of_neighbour && at < (char *)victim.low ? DIED_ON_GUARD : DIED_ELSEWHERE);
}

/* Overflow the stack of the second of three neighbours. */
static void overflow_in_child(void)
{
    static char alternate[65536];
    stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct coro_attr attr = {overflow_size, 4096, NULL};
    struct task *t[3];
    sigaltstack(&ss, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    for (int i = 0; i < 3; i++)
        t[i] = task_new_on(&attr, overflow, NULL);
    coro_stack_of(&t[0]->coro, &below);
    coro_stack_of(&t[1]->coro, &victim);
    task_run(t[1]);
}

static bool died_on_guard(void (*child)(void))
{
    int status = status_of_child(child);
    return WIFEXITED(status) && WEXITSTATUS(status) == DIED_ON_GUARD;
}

Test(stack, an_overflow_faults_on_the_guard, .disabled = KIT_SANITIZED)
{
    static const size_t sizes[] = {16384, 65536, 300000, 8 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        overflow_size = sizes[i];
        cr_assert(died_on_guard(overflow_in_child), "%zu", sizes[i]);
    }
}

static void overflow_without_guard_install(void)
{
    kit_start_without(CORO_WITHOUT_GUARD_INSTALL);
    overflow_in_child();
}

Test(stack_bare, without_the_kernel_s_guards_an_overflow_faults_too, .disabled = KIT_SANITIZED)
{
    overflow_size = 65536;
    cr_assert(died_on_guard(overflow_without_guard_install));
}

static void many(size_t count, size_t stack)
{
    struct task **t = calloc(count, sizeof *t);
    for (size_t i = 0; i < count; i++) {
        t[i] = new_with(stack, 4096);
        cr_assert(t[i], "number %zu: %s", i, strerror(errno));
        task_run(t[i]);
    }
    size_t maps = mapping_count();
    cr_assert(maps < 65530 / 2 + 1000, "%zu mappings", maps);
    cr_assert_neq(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    for (size_t i = 0; i < count; i++)
        task_finish(t[i]);
    free(t);
}

Test(stack, a_hundred_thousand_regions_need_few_mappings)
{
    many(100000, 65536);
    cr_assert(mapping_count() < 500);
}

Test(stack_bare, without_the_kernel_s_guards_half_of_the_mappings_stay_the_program_s)
{
    kit_start_without(CORO_WITHOUT_GUARD_INSTALL);
    many(60000, 65536);
}

Test(stack, regions_are_reused_last_first)
{
    struct task *t[10];
    for (int i = 0; i < 10; i++)
        t[i] = task_new(nothing, NULL);
    for (int i = 0; i < 10; i++)
        task_finish(t[i]);
    for (int i = 9; i >= 0; i--)
        cr_assert_eq(task_new(nothing, NULL), t[i]);
}

Test(stack, many_different_sizes_share_classes)
{
    size_t before = mapping_count();
    for (size_t size = 16384; size < 4 << 20; size += 4096) {
        struct task *t = new_with(size, 4096);
        struct coro_stack s;
        coro_stack_of(&t->coro, &s);
        cr_assert_eq(s.size, size);
        task_finish(t);
    }
    cr_assert(mapping_count() - before < 400, "%zu more mappings", mapping_count() - before);
}

Test(stack, bad_sizes_are_refused)
{
    static const struct coro_attr huge[] = {
        {SIZE_MAX, 0, NULL}, {SIZE_MAX - 8191, 4096, NULL}, {65536, SIZE_MAX, NULL},
        {1ul << 62, 4096, NULL}, {1ul << 47, 1ul << 47, NULL},
    };
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        errno = 0;
        cr_assert_eq(coro_new(&huge[i], KIT_EXTRA, kit_entry, NULL), NULL);
        cr_assert_eq(errno, ENOMEM);
    }
    task_finish(task_new(nothing, NULL));
}

static size_t resident(char *low, char *high)
{
    static unsigned char pages[1 << 16];
    low = (char *)((uintptr_t)low & ~4095ul);
    size_t count = (size_t)(high - low) / 4096;
    size_t n = 0;
    cr_assert_eq(mincore(low, count * 4096, pages), 0);
    for (size_t i = 0; i < count; i++)
        n += pages[i] & 1;
    return n;
}

static void *use_stack(void *arg)
{
    char use[40000];
    memset(use, 1, sizeof use);
    __asm__ volatile("" : : "r"(use) : "memory");
    task_yield();
    return arg;
}

Test(stack, trimming_frees_regions_that_were_not_used_since_the_last_one)
{
    enum { COUNT = 200 };
    static struct task *t[COUNT];
    struct coro_stack s[COUNT];
    for (int i = 0; i < COUNT; i++)
        task_run(t[i] = task_new(use_stack, NULL));
    for (int i = 0; i < COUNT; i++) {
        coro_stack_of(&t[i]->coro, &s[i]);
        task_finish(t[i]);
    }
    cr_assert_eq(coro_trim(1000), 0, "all were used a moment ago");
    cr_assert_eq(coro_trim(50), 50);
    size_t freed = coro_trim(1000);
    cr_assert(freed >= 100 && freed < 150, "%zu: a few stay", freed);
    cr_assert_eq(coro_trim(1000), 0);
    size_t trimmed = 0;
    for (int i = 0; i < COUNT; i++) {
        size_t n = resident(s[i].low, (char *)s[i].low + s[i].size);
        cr_assert(n == 0 || n >= 10, "%zu pages", n);
        trimmed += n == 0;
    }
    cr_assert_eq(trimmed, freed + 50);

    for (int i = 0; i < COUNT; i++)
        task_run(t[i] = task_new(use_stack, NULL));
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(task_finish(t[i]), NULL, "a trimmed region is as good as another");
}

static void *hold_pattern(void *arg)
{
    unsigned char use[30000];
    unsigned char pattern = (unsigned char)(uintptr_t)arg;
    memset(use, pattern, sizeof use);
    __asm__ volatile("" : : "r"(use) : "memory");
    task_yield();
    size_t bad = 0;
    for (size_t i = 0; i < sizeof use; i++)
        bad += use[i] != pattern;
    return (void *)bad;
}

Test(stack, trimming_never_touches_a_stack_in_use)
{
    enum { COUNT = 300 };
    static struct task *t[COUNT];
    unsigned seed = 1;
    size_t trimmed = 0;
    for (int i = 0; i < 60000; i++) {
        /* Waves, so that the free list is long, empty and long again. */
        bool grow = i / 400 % 2 == 0;
        int k = rand_r(&seed) % COUNT;
        if (grow && !t[k]) {
            task_run(t[k] = task_new(hold_pattern, (void *)(uintptr_t)i));
        } else if (!grow && t[k]) {
            cr_assert_eq(task_finish(t[k]), NULL);
            t[k] = NULL;
        }
        if (rand_r(&seed) % 100 == 0)
            trimmed += coro_trim(rand_r(&seed) % 50u);
    }
    cr_assert(trimmed > 1000, "%zu", trimmed);
    for (int k = 0; k < COUNT; k++)
        if (t[k])
            cr_assert_eq(task_finish(t[k]), NULL);
}

static __thread int own = 1;

static void *use_block(void *arg)
{
    bool fresh = own == 1 && errno == 0;
    own = 2;
    errno = EINVAL;
    task_yield();
    return fresh && own == 2 && errno == EINVAL ? arg : NULL;
}

static void count_all(uintptr_t tp, void *data)
{
    (void)tp;
    ++*(size_t *)data;
}

Test(stack, a_control_block_is_given_back_too_and_comes_back_as_new)
{
    enum { COUNT = 1000 };
    static struct task *t[COUNT];
    static uintptr_t tp[COUNT];
    size_t blocks = 0, zero = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            t[i] = task_new(use_block, &blocks);
            tp[i] = t[i]->coro.tp;
            task_run(t[i]);
        }
        blocks = zero = 0;
        coro_each_tp(count_all, &blocks);
        cr_assert_eq(blocks, COUNT, "%zu: each memory is taken again", blocks);
        for (int i = 0; i < COUNT; i++)
            cr_assert_eq(task_finish(t[i]), &blocks);
        coro_trim(2 * COUNT);
        size_t trimmed = coro_trim(2 * COUNT);
        cr_assert(trimmed > COUNT - 100);
        for (int i = 0; i < COUNT; i++) {
            zero += t[i]->coro.tp == 0;
            cr_assert(coro_has_been(tp[i]));
        }
        cr_assert_eq(zero, trimmed);
        blocks = 0;
        coro_each_tp(count_all, &blocks);
        cr_assert_eq(blocks, COUNT - trimmed, "a block that is gone is not to be written to");
    }
    cr_assert(!coro_has_been((uintptr_t)pthread_self()));
}

static void late_write(void)
{
    enum { COUNT = 100 };
    struct task *t[COUNT];
    for (int i = 0; i < COUNT; i++)
        t[i] = task_new(nothing, NULL);
    for (int i = 0; i < COUNT; i++)
        task_finish(t[i]);
    uintptr_t tp[COUNT];
    for (int i = 0; i < COUNT; i++)
        tp[i] = t[i]->coro.tp;
    coro_trim(1000);
    coro_trim(1000);
    for (int i = 0; i < COUNT; i++)
        libc_cancel(tp[i]);
    for (int i = 0; i < COUNT; i++)
        if (libc_cancel_pending((t[i] = task_new(nothing, NULL))->coro.tp))
            _exit(1);
    _exit(0);
}

Test(stack, who_was_cancelled_after_its_end_leaves_nothing_to_its_successor)
{
    int status = status_of_child(late_write);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void trim_while_locked(void)
{
    enum { COUNT = 200 };
    struct task *t[COUNT];
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(0); /* not allowed to */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++)
            task_run(t[i] = task_new(use_block, t));
        for (int i = 0; i < COUNT; i++)
            if (task_finish(t[i]) != t)
                _exit(1);
        coro_trim(1000);
        coro_trim(1000);
        if (coro_trim(1000) != 0 || coro_trim_due())
            _exit(2);
        munlockall(); /* and those that were locked are good for use ever after */
    }
    _exit(0);
}

Test(stack, what_is_locked_stays_and_is_not_tried_for_ever)
{
    int status = status_of_child(trim_while_locked);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
}

static void overflow_of_a_trimmed_one(void)
{
    enum { COUNT = 100 };
    struct task *t[COUNT];
    for (int i = 0; i < COUNT; i++)
        task_run(t[i] = new_with(overflow_size, 4096));
    for (int i = COUNT - 1; i >= 0; i--)
        task_finish(t[i]);
    coro_trim(1000);
    if (coro_trim(1000) == 0)
        _exit(1);
    for (int i = 0; i < COUNT / 2; i++)
        new_with(overflow_size, 4096);
    overflow_in_child();
}

Test(stack, a_trimmed_region_has_its_guard_when_it_is_used_again, .disabled = KIT_SANITIZED)
{
    static const size_t sizes[] = {16384, 65536, 300000, 8 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        overflow_size = sizes[i];
        cr_assert(died_on_guard(overflow_of_a_trimmed_one), "%zu", sizes[i]);
    }
}

/* Linux gives page tables back since 6.14; where it does not, stacks that lie far apart keep them. */
static bool kernel_gives_tables_back(void)
{
    size_t size = 200ul << 21;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    madvise(p, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 1 << 21)
        p[i] = 1;
    long full = proc_status("VmPTE:");
    madvise(p, size, MADV_DONTNEED);
    long empty = proc_status("VmPTE:");
    munmap(p, size);
    return empty < full - 400;
}

Test(stack, page_tables_of_large_stacks_are_given_back, .disabled = KIT_SANITIZED)
{
    enum { COUNT = 2000 };
    static struct task *t[COUNT];
    if (!kernel_gives_tables_back())
        return;
    long before = proc_status("VmRSS:") + proc_status("VmPTE:");
    for (int i = 0; i < COUNT; i++)
        task_run(t[i] = new_with(8 << 20, 4096));
    for (int i = 0; i < COUNT; i++)
        task_finish(t[i]);
    coro_trim(2 * COUNT);
    cr_assert(coro_trim(2 * COUNT) > COUNT - 100);
    long more = proc_status("VmRSS:") + proc_status("VmPTE:") - before;
    cr_assert(more < 2048, "%ld KiB", more);
}

static void *where(void *arg)
{
    *(char **)arg = __builtin_frame_address(0);
    task_yield();
    return arg;
}

Test(stack, a_stack_that_the_program_supplies_is_used_and_described)
{
    size_t size = 128 * 1024;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct coro_attr attr = {size - 100, 4096, memory};
    char *at = NULL;
    struct task *t = task_new_on(&attr, where, &at);
    task_run(t);
    cr_assert(at > memory + size - 4096 && at < memory + size - 100);
    struct coro_stack s;
    coro_stack_of(&t->coro, &s);
    cr_assert_eq(s.low, memory);
    cr_assert_eq(s.size, size - 100);
    cr_assert_eq(s.guard_size, 0);
    task_finish(t);
    munmap(memory, size);
    struct task *again = task_new(nothing, NULL);
    cr_assert_neq(again, t, "a bare region is not given to one that needs a stack");
    task_finish(again);
}

Test(stack, a_locked_process_pays_for_what_it_opens_only, .disabled = KIT_SANITIZED)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return; /* not allowed to */
    long before = proc_status("VmRSS:");
    struct task *t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = new_with(1 << 20, 4096);
        cr_assert(t[i]);
        task_run(t[i]);
    }
    long more = proc_status("VmRSS:") - before;
    cr_assert(more < 8 * 1024, "%ld KiB", more);
    for (int i = 0; i < 4; i++)
        task_finish(t[i]);
    munlockall();
}

static void overflow_while_locked(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(DIED_ON_GUARD); /* not allowed to */
    overflow_size = 65536;
    overflow_in_child();
}

Test(stack, a_locked_process_has_guards_too, .disabled = KIT_SANITIZED)
{
    cr_assert(died_on_guard(overflow_while_locked));
}

Test(stack, a_limit_on_address_space_is_lived_with, .disabled = KIT_SANITIZED)
{
    struct rlimit old, limit = {200 << 20, RLIM_INFINITY};
    getrlimit(RLIMIT_AS, &old);
    setrlimit(RLIMIT_AS, &limit);
    struct task *t = new_with(64 << 20, 4096);
    struct task *none = new_with(400 << 20, 4096);
    int why = errno;
    setrlimit(RLIMIT_AS, &old);
    cr_assert(t);
    cr_assert_eq(none, NULL);
    cr_assert_eq(why, ENOMEM);
    task_finish(t);
}

/* Several OS threads make, run and give back coroutines of several sizes at once. */
static void *hammer(void *arg)
{
    struct coro mine;
    unsigned seed = (unsigned)(uintptr_t)arg;
    coro_adopt(&mine);
    struct coro *held[16] = {NULL};
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % 16;
        if (held[k]) {
            coro_delete(held[k]);
            held[k] = NULL;
        } else {
            struct coro_attr attr = {16384u << rand_r(&seed) % 4, 4096, NULL};
            held[k] = coro_new(&attr, KIT_EXTRA, kit_entry, NULL);
            cr_assert(held[k]);
            uintptr_t tp = held[k]->tp;
            *(uintptr_t *)((char *)held[k]->sp - 64) = tp;
        }
        if (i % 1000 == 0)
            coro_trim(5);
    }
    for (int k = 0; k < 16; k++)
        if (held[k])
            coro_delete(held[k]);
    return NULL;
}

static void count_blocks(uintptr_t tp, void *data)
{
    cr_assert(libc_tid(tp) > 1 << 22);
    ++*(size_t *)data;
}

Test(stack, several_os_threads_share_them)
{
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, hammer, (void *)(i + 1));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    size_t blocks = 0;
    coro_each_tp(count_blocks, &blocks);
    cr_assert(blocks > 0 && blocks <= 4 * 16 * 4, "%zu", blocks);
}

/* User memory and page tables of an idle coroutine, in bytes. */
static double idle_cost(size_t stack, size_t count)
{
    struct task **t = calloc(count, sizeof *t);
    memset(t, 0, count * sizeof *t);
    task_finish(new_with(stack, 4096));
    long before = proc_status("VmRSS:") + proc_status("VmPTE:");
    for (size_t i = 0; i < count; i++) {
        t[i] = new_with(stack, 4096);
        cr_assert(t[i], "number %zu: %s", i, strerror(errno));
        task_run(t[i]);
    }
    long after = proc_status("VmRSS:") + proc_status("VmPTE:");
    for (size_t i = 0; i < count; i++)
        task_finish(t[i]);
    free(t);
    return (double)(after - before) * 1024 / (double)count;
}

Test(stack, an_idle_coroutine_is_small, .disabled = KIT_SANITIZED)
{
    double small = idle_cost(64 << 10, 20000);
    double large = idle_cost(8 << 20, 20000);
    fprintf(stderr, "idle coroutine: %.0f bytes at 64 KiB, %.0f at 8 MiB\n", small, large);
    cr_assert(small <= 10 * 1024, "%.0f bytes at 64 KiB", small);
    cr_assert(large <= 15 * 1024, "%.0f bytes at 8 MiB", large);
}

/* Nine gigabytes, so only on request: CORO_TEST_MILLION=1. */
Test(stack, a_million_regions)
{
    if (!getenv("CORO_TEST_MILLION"))
        return;
    double cost = idle_cost(64 << 10, 1000000);
    fprintf(stderr, "a million coroutines: %.0f bytes each\n", cost);
    cr_assert(cost <= 10 * 1024);
}
