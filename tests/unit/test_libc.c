/* coro/libc.c: each coroutine has all that libc keeps for a thread, and a used block is as new. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <wchar.h>

#include "coro_kit.h"

TestSuite(libc, .init = kit_start);

static __thread int number = 42;
static __thread char zeros[100];
static __thread int *self_pointer;

/* ---- ten thousand at once ------------------------------------------------------------------ */

enum { MANY = 10000 };
static pthread_key_t keys[80]; /* beyond libc's first block of 32 */

static void *everything_of_its_own(void *arg)
{
    long me = (long)arg;
    long bad = number != 42 || zeros[50] != 0 || errno != 0;
    locale_t mine = newlocale(LC_ALL_MASK, me % 2 ? "C.UTF-8" : "C", NULL);
    uselocale(mine);
    number = (int)me;
    zeros[50] = (char)me;
    self_pointer = &number;
    pthread_setspecific(keys[5], &number);
    pthread_setspecific(keys[70], arg);
    errno = (int)me;
    for (int i = 0; i < 3; i++) {
        int saved = errno;
        task_yield();
        bad += saved != (int)me || errno != (int)me;
        bad += number != (int)me || zeros[50] != (char)me || self_pointer != &number;
        bad += pthread_getspecific(keys[5]) != &number || pthread_getspecific(keys[70]) != arg;
        bad += uselocale(NULL) != mine || MB_CUR_MAX != (me % 2 ? 6 : 1);
        char text[32];
        snprintf(text, sizeof text, "%.3f", (double)me + 0.125);
        bad += strtod(text, NULL) != (double)me + 0.125;
        errno = (int)me;
    }
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(mine);
    return (void *)bad;
}

Test(libc, ten_thousand_have_tls_errno_locale_and_keys_of_their_own)
{
    static struct task *t[MANY];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(pthread_key_create(&keys[i], NULL), 0);
    for (int turn = 0; turn < 2; turn++) {
        for (long i = 0; i < MANY; i++)
            t[i] = task_new(everything_of_its_own, (void *)(i + 1));
        for (int round = 0; round < 3; round++)
            for (int i = 0; i < MANY; i++)
                task_run(t[i]);
        for (int i = 0; i < MANY; i++)
            cr_assert_eq(task_finish(t[i]), NULL);
    }
    cr_assert_eq(number, 42);
}

/* ---- a used block is as new ---------------------------------------------------------------- */

static void *leave_a_mess(void *arg)
{
    number = 1;
    memset(zeros, 1, sizeof zeros);
    self_pointer = &number;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        pthread_setspecific(keys[i], &number);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    strerror(1000);
    strsignal(70);
    if (arg)
        (void)dlopen("/nonexistent", RTLD_NOW);
    res_init();
    _res.retry = 77;
    free(malloc(1000));
    locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
    uselocale(l);
    freelocale(l); /* the thread uses it no more, but its block still points to it */
    h_errno = 3;
    errno = 5;
    return arg;
}

static void *look_for_a_mess(void *arg)
{
    long bad = number != 42 || self_pointer != NULL;
    for (size_t i = 0; i < sizeof zeros; i++)
        bad += zeros[i] != 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        bad += pthread_getspecific(keys[i]) != NULL;
    bad += errno != 0 || h_errno != 0;
    bad += uselocale(NULL) != LC_GLOBAL_LOCALE || MB_CUR_MAX != 1;
    bad += !isalpha('a') || toupper('x') != 'X';
    bad += dlerror() != NULL;
    bad += _res.retry != 0 || _res.nscount != 0;
    int old = -1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    bad += old != PTHREAD_CANCEL_ENABLE;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
    bad += old != PTHREAD_CANCEL_DEFERRED;
    char text[64];
    snprintf(text, sizeof text, "%.2f %s", 2.5, strerror(ENOENT));
    bad += strcmp(text, "2.50 No such file or directory") != 0;
    (void)arg;
    return (void *)bad;
}

Test(libc, a_used_block_is_as_new)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(pthread_key_create(&keys[i], NULL), 0);
    struct task *used = NULL;
    for (int turn = 0; turn < 5; turn++) {
        struct task *t = task_new(leave_a_mess, turn % 2 ? &used : NULL);
        if (used)
            cr_assert_eq(t, used);
        used = t;
        task_finish(t);
        t = task_new(look_for_a_mess, NULL);
        cr_assert_eq(t, used);
        cr_assert_eq((long)task_finish(t), 0);
    }
}

static void *leave_a_message(void *arg)
{
    (void)dlopen("/nonexistent", RTLD_NOW);
    return arg;
}

Test(libc, twenty_thousand_uses_of_one_block_leak_nothing, .disabled = KIT_SANITIZED)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(pthread_key_create(&keys[i], NULL), 0);
    for (int i = 0; i < 1000; i++) {
        task_finish(task_new(leave_a_mess, NULL));
        task_finish(task_new(leave_a_message, NULL));
    }
    long before = proc_status("VmRSS:");
    for (int i = 0; i < 10000; i++) {
        task_finish(task_new(leave_a_mess, NULL));
        task_finish(task_new(leave_a_message, NULL));
    }
    long more = proc_status("VmRSS:") - before;
    cr_assert(more < 200, "%ld KiB more", more);
}

/* ---- ends of threads ----------------------------------------------------------------------- */

static int cleaned;

static void clean(void *arg)
{
    cleaned = cleaned * 10 + (int)(long)arg;
}

static void *exit_deep(void *arg)
{
    pthread_cleanup_push(clean, (void *)1);
    pthread_cleanup_push(clean, (void *)2);
    char here[1000];
    memset(here, 1, sizeof here);
    if (arg)
        pthread_exit(arg);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}

Test(libc, pthread_exit_runs_cleanup_handlers_and_gives_its_value)
{
    for (int i = 0; i < 3; i++) {
        cleaned = 0;
        cr_assert_eq(task_finish(task_new(exit_deep, (void *)77)), (void *)77);
        cr_assert_eq(cleaned, 21);
    }
    cleaned = 0;
    cr_assert_eq(task_finish(task_new(exit_deep, NULL)), NULL);
    cr_assert_eq(cleaned, 0);
}

static void *exit_on_supplied_stack(void *arg)
{
    pthread_cleanup_push(clean, (void *)3);
    pthread_exit(arg);
    pthread_cleanup_pop(0);
    return NULL;
}

Test(libc, pthread_exit_works_on_stacks_above_and_below_the_block)
{
    size_t size = 256 * 1024;
    static char low[256 * 1024];
    char *high = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *stacks[] = {low, high};
    for (int i = 0; i < 2; i++) {
        struct coro_attr attr = {size, 0, stacks[i]};
        cleaned = 0;
        cr_assert_eq(task_finish(task_new_on(&attr, exit_on_supplied_stack, low)), low);
        cr_assert_eq(cleaned, 3);
    }
}

static void *wait_for_cancel(void *arg)
{
    pthread_cleanup_push(clean, (void *)4);
    if (arg)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    task_yield();
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cleanup_pop(0);
    pthread_cleanup_push(clean, (void *)5);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

Test(libc, deferred_cancellation_acts_at_libc_s_own_cancellation_points)
{
    for (long disabled = 0; disabled < 2; disabled++) {
        struct task *t = task_new(wait_for_cancel, (void *)disabled);
        cleaned = 0;
        task_run(t);
        cr_assert(!libc_cancel_pending(t->coro.tp));
        libc_cancel(t->coro.tp);
        cr_assert_eq(libc_cancel_pending(t->coro.tp), !disabled);
        cr_assert(!libc_cancel_async(t->coro.tp));
        cr_assert_eq(task_finish(t), PTHREAD_CANCELED);
        cr_assert_eq(cleaned, disabled ? 5 : 4);
    }
}

static void *exiting(void *arg)
{
    libc_mark_exiting((uintptr_t)__builtin_thread_pointer());
    task_yield();
    pthread_testcancel();
    return arg;
}

Test(libc, a_thread_that_is_exiting_is_not_cancelled)
{
    struct task *t = task_new(exiting, &cleaned);
    task_run(t);
    libc_cancel(t->coro.tp);
    cr_assert(!libc_cancel_pending(t->coro.tp));
    cr_assert_eq(task_finish(t), &cleaned);
}

static int fake_main(int argc, char **argv, char **envp)
{
    (void)argv, (void)envp;
    if (argc == 2)
        pthread_exit(NULL);
    return argc * 10;
}

Test(libc, main_runs_under_a_base_frame_too)
{
    bool exited = true;
    cr_assert_eq(libc_run_main(fake_main, 3, NULL, NULL, &exited), 30);
    cr_assert(!exited);
    libc_run_main(fake_main, 2, NULL, NULL, &exited);
    cr_assert(exited);
}

/* ---- robust mutexes ------------------------------------------------------------------------ */

static pthread_mutex_t robust[3];
static void *died[3];
static int died_count;

static void note_death(void *mutex, void *data)
{
    cr_assert_eq(data, &died_count);
    died[died_count++] = mutex;
}

static void *lock_and_die(void *arg)
{
    for (int i = 0; i < 3; i++)
        pthread_mutex_lock(&robust[i]);
    pthread_mutex_unlock(&robust[1]);
    libc_robust_exit((uintptr_t)__builtin_thread_pointer(), note_death, &died_count);
    return arg;
}

static void *find_owner_dead(void *arg)
{
    long n = 0;
    for (int i = 0; i < 3; i++) {
        if (pthread_mutex_trylock(&robust[i]) == EOWNERDEAD) {
            n |= 1 << i;
            pthread_mutex_consistent(&robust[i]);
        }
        pthread_mutex_unlock(&robust[i]);
    }
    (void)arg;
    return (void *)n;
}

Test(libc, robust_mutexes_of_a_dead_thread_say_so)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 3; i++)
        pthread_mutex_init(&robust[i], &attr);
    task_finish(task_new(lock_and_die, NULL));
    cr_assert_eq(died_count, 2);
    cr_assert(died[0] == &robust[2] && died[1] == &robust[0]);
    cr_assert_eq((long)task_finish(task_new(find_owner_dead, NULL)), 5);
    cr_assert_eq((long)task_finish(task_new(find_owner_dead, NULL)), 0);
}

static void *lock_and_try(void *arg)
{
    pthread_mutex_t *m = arg;
    long first = pthread_mutex_trylock(m);
    long second = pthread_mutex_trylock(m);
    task_yield();
    if (first == 0)
        pthread_mutex_unlock(m);
    return (void *)(first * 1000 + second);
}

Test(libc, libc_s_locks_know_coroutines_as_different_owners)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t m;
    pthread_mutex_init(&m, &attr);
    struct task *a = task_new(lock_and_try, &m);
    struct task *b = task_new(lock_and_try, &m);
    task_run(a);
    task_run(b);
    cr_assert_eq(task_finish(a), NULL);
    cr_assert_eq(task_finish(b), (void *)(long)(EBUSY * 1000 + EBUSY));
}

/* ---- libraries loaded later ---------------------------------------------------------------- */

static char directory[] = "/tmp/test_libc.XXXXXX";

/* Compile a library; returns its path, or NULL where there is no compiler. */
static const char *library(const char *name, const char *source, const char *options)
{
    static char path[4][200];
    static int used;
    char command[1000];
    char *p = path[used++ % 4];
    snprintf(p, sizeof path[0], "%s/%s.so", directory, name);
    snprintf(command, sizeof command, "cc -shared -fPIC %s -x c - -o %s", options, p);
    FILE *cc = popen(command, "w");
    if (!cc)
        return NULL;
    fputs(source, cc);
    return pclose(cc) == 0 ? p : NULL;
}

static void make_directory(void)
{
    kit_start();
    if (!mkdtemp(directory))
        abort();
}

static void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    (void)!system(command);
}

TestSuite(loader, .init = make_directory, .fini = remove_directory);

static const char static_tls[] =
    "__thread int value = 1234; static __thread char more[64];\n"
    "int seen_by_constructor;\n"
    "__attribute__((constructor)) static void c(void) { seen_by_constructor = value; value = 99; }\n"
    "int get(void) { return value + more[7]; } void set(int v) { value = v; more[7] = 1; }\n";

static int (*get)(void);
static void (*set)(int);

static void *get_set_get(void *arg)
{
    long v = 0;
    task_yield();
    v = get();
    set(5);
    task_yield();
    (void)arg;
    return (void *)(v * 10000 + get());
}

static const char *load_path;
static void *loaded;

static void *load(void *arg)
{
    (void)arg;
    libc_tls_loading();
    loaded = dlopen(load_path, RTLD_NOW);
    libc_tls_loaded();
    if (!loaded)
        return (void *)-1;
    get = dlsym(loaded, "get");
    set = dlsym(loaded, "set");
    int *seen = dlsym(loaded, "seen_by_constructor");
    return (void *)(long)(*seen * 10000 + get());
}

static void check_loaded_library(const char *options)
{
    load_path = library("later", static_tls, options);
    if (!load_path)
        cr_assert_fail("no compiler");
    struct task *t[20];
    for (int i = 0; i < 20; i++)
        task_run(t[i] = task_new(get_set_get, NULL));
    for (int i = 10; i < 15; i++) { /* these regions lie free while the library is loaded */
        libc_cancel(t[i]->coro.tp);
        task_drop(t[i]);
    }
    cr_assert_eq((long)task_finish(task_new(load, NULL)), 1234 * 10000 + 99);
    for (int i = 0; i < 20; i++)
        if (i < 10 || i >= 15)
            task_run(t[i]);
    for (int i = 0; i < 20; i++)
        if (i < 10 || i >= 15)
            cr_assert_eq((long)task_finish(t[i]), 1234 * 10000 + 6);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 30; i++)
            task_run(t[i % 20] = task_new(get_set_get, NULL));
        for (int i = 10; i < 20; i++)
            cr_assert_eq((long)task_finish(t[i]), 1234 * 10000 + 6);
        for (int i = 0; i < 10; i++)
            cr_assert_eq((long)task_finish(t[i]), 1234 * 10000 + 6);
    }
    cr_assert_eq(get(), 1234, "the main thread, too");
    dlclose(loaded);
    get = NULL;
    task_finish(task_new(look_for_a_mess, NULL));
    cr_assert_eq((long)task_finish(task_new(load, NULL)), 1234 * 10000 + 99);
    cr_assert_eq((long)task_finish(task_new(get_set_get, NULL)), 1234 * 10000 + 6);
}

Test(loader, static_tls_of_a_library_loaded_later_is_in_every_block)
{
    check_loaded_library("-ftls-model=initial-exec");
}

Test(loader, dynamic_tls_is_new_for_each_use_of_a_block)
{
    check_loaded_library("-ftls-model=global-dynamic");
}

/* A library that is used through __tls_get_addr() until another one wants its variable at a fixed
 * place. */
static const char user_of_value[] =
    "extern __thread int value __attribute__((tls_model(\"initial-exec\")));\n"
    "int get(void) { return value; } void set(int v) { value = v; } int seen_by_constructor;\n";

static void *get_later(void *arg)
{
    task_yield();
    (void)arg;
    return (void *)(long)get();
}

Test(loader, dynamic_tls_that_becomes_static_is_in_every_block)
{
    const char *first = library("first", static_tls, "-ftls-model=global-dynamic");
    const char *second = library("second", user_of_value, "");
    if (!first || !second)
        cr_assert_fail("no compiler");
    struct task *t[4];
    for (int i = 0; i < 4; i++)
        task_run(t[i] = task_new(get_later, NULL));
    cr_assert(dlopen("/nonexistent", RTLD_NOW) == NULL);
    libc_tls_loading();
    /* Nobody has touched it: a library whose block one thread has made can no longer move. */
    const char *source = "__thread int value = 1234;";
    first = library("first", source, "-ftls-model=global-dynamic");
    cr_assert(dlopen(first, RTLD_NOW | RTLD_GLOBAL));
    libc_tls_loaded();
    load_path = second;
    task_finish(task_new(load, NULL));
    cr_assert(loaded, "%s", dlerror());
    for (int i = 0; i < 4; i++)
        cr_assert_eq((long)task_finish(t[i]), 1234);
    cr_assert_eq((long)task_finish(task_new(get_later, NULL)), 1234);
}

Test(loader, another_namespace_s_libc_has_its_tls_in_every_block)
{
    const char *source = "#include <errno.h>\n#include <stdlib.h>\n"
                         "int get(void) { free(malloc(100)); return errno; }\n"
                         "void set(int v) { errno = v; } int seen_by_constructor;\n";
    const char *path = library("names", source, "");
    if (!path)
        cr_assert_fail("no compiler");
    struct task *before = task_new(get_set_get, NULL);
    task_run(before);
    libc_tls_loading();
    loaded = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    libc_tls_loaded();
    if (!loaded)
        cr_assert_fail("dlmopen: %s", dlerror());
    get = dlsym(loaded, "get");
    set = dlsym(loaded, "set");
    task_run(before);
    cr_assert_eq((long)task_finish(before), 5);
    for (int i = 0; i < 3; i++)
        cr_assert_eq((long)task_finish(task_new(get_set_get, NULL)), 5);
}

#if defined(__x86_64__)
static void *run_code_on_stack(void *arg)
{
    volatile unsigned char code[16] = {0xb8, 42, 0, 0, 0, 0xc3}; /* return 42 */
    task_yield();
    (void)arg;
    return (void *)(long)((int (*)(void))(uintptr_t)code)();
}

static void load_executable_stack(void)
{
    const char *path = library("nested", "int get(void) { return 1; } void set(int v) { (void)v; }"
                                         "int seen_by_constructor;", "-z execstack");
    if (!path)
        _exit(1);
    struct task *before = task_new(run_code_on_stack, NULL);
    task_run(before);
    load_path = path;
    task_finish(task_new(load, NULL));
    if (!loaded)
        _exit(0); /* this kernel does not allow it */
    if (task_finish(before) != (void *)42 ||
        task_finish(task_new(run_code_on_stack, NULL)) != (void *)42)
        _exit(2);
    struct coro_attr attr = {300 * 1024, 4096, NULL};
    if (task_finish(task_new_on(&attr, run_code_on_stack, NULL)) != (void *)42)
        _exit(3);
}

static void load_executable_stack_without_guard_install(void)
{
    kit_start_without(CORO_WITHOUT_GUARD_INSTALL);
    load_executable_stack();
}

Test(loader, stacks_become_executable_when_a_library_needs_it)
{
    cr_assert_eq(status_of_child(load_executable_stack), 0);
    cr_assert_eq(status_of_child(load_executable_stack_without_guard_install), 0);
}
#endif

/* ---- fork, native threads ------------------------------------------------------------------ */

static void *native(void *arg)
{
    number++;
    errno = 1;
    char text[32];
    snprintf(text, sizeof text, "%.1f", 1.5);
    return (void *)(long)(strcmp(text, "1.5") == 0 && number == 43 && pthread_self() && arg);
}

static int native_threads_work(void)
{
    for (int i = 0; i < 10; i++) {
        pthread_t t;
        void *result = NULL;
        if (pthread_create(&t, NULL, native, &number) != 0 || pthread_join(t, &result) != 0 || !result)
            return 0;
    }
    return 1;
}

static void *blocked_in_read(void *arg)
{
    char c;
    task_yield();
    pthread_cleanup_push(clean, (void *)6);
    (void)!read(*(int *)arg, &c, 1);
    pthread_cleanup_pop(0);
    return NULL;
}

Test(libc, a_call_that_would_block_in_libc_is_a_cancellation_point)
{
    int fd[2];
    cr_assert_eq(pipe(fd), 0);
    cr_assert(native_threads_work()); /* before, libc believes that nobody can cancel */
    struct task *t = task_new(blocked_in_read, &fd[0]);
    task_run(t);
    libc_cancel(t->coro.tp);
    cleaned = 0;
    cr_assert_eq(task_finish(t), PTHREAD_CANCELED);
    cr_assert_eq(cleaned, 6);
}

static struct task *parked_in_parent;

static void *fork_here(void *arg)
{
    number = 7;
    pid_t pid = fork();
    if (pid == 0) {
        struct coro *me = &kit_current->coro;
        coro_after_fork(me);
        int bad = 0;
        bad |= libc_tid(me->tp) != (pid_t)syscall(SYS_gettid) ? 1 : 0;
        bad |= number != 7 ? 2 : 0;
        bad |= native_threads_work() ? 0 : 4;
        coro_adopt(&kit_main);
        struct task *me_task = kit_current;
        struct task *t = task_new(look_for_a_mess, NULL);
        bad |= t == arg ? 8 : 0;
        struct task *again = parked_in_parent;
        coro_delete(&again->coro);
        bad |= task_new(look_for_a_mess, NULL) == again ? 64 : 0;
        /* the child's coroutine returns to this one, which is the main thread now */
        bad |= task_finish(t) == NULL ? 0 : 16;
        kit_current = me_task;
        pid = fork();
        if (pid == 0)
            _exit(native_threads_work() ? 0 : 1);
        int status = -1;
        waitpid(pid, &status, 0);
        bad |= status ? 32 : 0;
        _exit(bad);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return (void *)(long)status;
}

Test(libc, a_child_forked_on_a_coroutine_has_native_threads_and_coroutines)
{
    libc_disable_rseq();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        pthread_key_create(&keys[i], NULL);
    struct task *gone = task_new(leave_a_mess, NULL);
    struct task *parked = parked_in_parent = task_new(wait_for_cancel, NULL);
    task_run(parked);
    task_finish(gone);
    struct task *t = task_new(fork_here, gone);
    int status = (int)(long)task_finish(t);
    cr_assert_eq(status, 0, "status %x", status);
    t = task_new(fork_here, gone);
    cr_assert_eq(task_finish(t), NULL);
    task_finish(parked);
}

static int in_child;

static void *exit_the_child_s_main(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        in_child = 1;
        coro_after_fork(&kit_current->coro);
        pthread_t t;
        pthread_create(&t, NULL, native, &number);
        pthread_detach(t);
        pthread_exit(NULL);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    (void)arg;
    return (void *)(long)status;
}

Test(libc, in_a_forked_child_pthread_exit_lands_at_the_coroutine_s_base_frame)
{
    int status = (int)(long)task_finish(task_new(exit_the_child_s_main, NULL));
    if (in_child) /* the child's kit switched to its copy of the main context */
        _exit(23);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 23, "status %x", status);
}

static void *native_carrier(void *arg)
{
    struct task *t = arg;
    struct coro mine;
    coro_adopt(&mine);
    kit_main = mine;
    kit_current = t;
    coro_switch(&kit_main, &t->coro);
    return t->result;
}

static void *who_am_i(void *arg)
{
    long bad = number != 42;
    number = 1;
    task_yield();
    bad += number != 1;
    (void)arg;
    return (void *)bad;
}

Test(libc, a_coroutine_may_go_on_on_another_os_thread)
{
    struct task *t = task_new(who_am_i, NULL);
    task_run(t);
    kit_current = t;
    pthread_t carrier;
    cr_assert_eq(pthread_create(&carrier, NULL, native_carrier, t), 0);
    pthread_join(carrier, NULL);
    cr_assert_eq(t->done, 1);
    cr_assert_eq(t->result, NULL);
    cr_assert_eq(number, 42);
}

static void *rseq_cpu(void *arg)
{
    extern const ptrdiff_t __rseq_offset;
    int *area = (int *)((char *)__builtin_thread_pointer() + __rseq_offset);
    (void)arg;
    return (void *)(long)area[1];
}

Test(libc, rseq_is_off_on_coroutines_and_native_threads)
{
    libc_disable_rseq();
    libc_disable_rseq();
    cr_assert_eq((int)(long)rseq_cpu(NULL), -2);
    cr_assert_eq((int)(long)task_finish(task_new(rseq_cpu, NULL)), -2);
    pthread_t t;
    void *result;
    pthread_create(&t, NULL, rseq_cpu, NULL);
    pthread_join(t, &result);
    cr_assert_eq((int)(long)result, -2);
}

static void *create_native(void *arg)
{
    (void)arg;
    return (void *)(long)native_threads_work();
}

Test(libc, native_threads_can_be_made_on_a_coroutine)
{
    cr_assert_eq(task_finish(task_new(create_native, NULL)), (void *)1);
}

static void *wide(void *arg)
{
    wchar_t w[32];
    swprintf(w, 32, L"%ls %.2f", L"wide", 1.25);
    (void)arg;
    return (void *)(long)(wcscmp(w, L"wide 1.25") == 0);
}

static void exit_23(void)
{
    _exit(23);
}

static void *exit_the_process(void *arg)
{
    (void)arg;
    exit(1);
}

static void run_exit(void)
{
    atexit(exit_23);
    task_finish(task_new(exit_the_process, NULL));
}

Test(libc, exit_on_a_coroutine_runs_the_handlers)
{
    int status = status_of_child(run_exit);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 23, "status %x", status);
}

Test(libc, wide_printf_works)
{
    cr_assert_eq(task_finish(task_new(wide, NULL)), (void *)1);
}
