/* The smallest scheduler that coroutines can be tested with: the test switches to a task, the task
 * yields back or ends. Tasks run as green threads do: base frame, destructors, thread end. */
#ifndef TESTS_UNIT_CORO_KIT_H
#define TESTS_UNIT_CORO_KIT_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "coro/coro.h"
#include "coro/libc.h"

struct task {
    struct coro coro; /* extra memory of the coroutine follows it */
    void *(*fn)(void *);
    void *arg;
    void *result;
    int done;
};

/* AddressSanitizer keeps what it noted about a stack that was left by unwinding: it knows the stacks
 * of OS threads only. What measures memory or overflows stacks makes no sense under it. */
#if defined(__SANITIZE_ADDRESS__)
enum { KIT_SANITIZED = 1 };
void __asan_unpoison_memory_region(void const volatile *start, size_t size);
#else
enum { KIT_SANITIZED = 0 };
#define __asan_unpoison_memory_region(start, size) ((void)(start), (void)(size))
#endif

static struct coro kit_main;
static struct task *kit_current;

#if defined(__SANITIZE_ADDRESS__)
/* Its runtime asks for the stack before a thread unwinds, and gives up if there is no answer. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)
{
    struct coro_stack s;
    if (kit_current && (uintptr_t)thread == libc_self(kit_current->coro.tp)) {
        coro_stack_of(&kit_current->coro, &s);
        pthread_attr_init(attr);
        return pthread_attr_setstack(attr, s.low, s.size);
    }
    int (*real)(pthread_t, pthread_attr_t *);
    void *f = dlsym(RTLD_NEXT, "pthread_getattr_np");
    memcpy(&real, &f, sizeof f);
    return real(thread, attr);
}
#endif

#define KIT_EXTRA (sizeof(struct task) - sizeof(struct coro))

static void kit_entry(void *coro)
{
    struct task *t = (struct task *)coro;
    libc_thread_begin();
    t->result = libc_run(t->fn, t->arg);
    libc_run_tls_dtors();
    libc_thread_end();
    t->done = 1;
    coro_switch(&t->coro, &kit_main);
    abort();
}

static inline void kit_start_without(unsigned without)
{
    coro_pretend(without);
    const char *why = coro_start();
    if (why) {
        fprintf(stderr, "coro_start: %s\n", why);
        abort();
    }
    coro_adopt(&kit_main);
}

static void kit_start(void)
{
    kit_start_without(0);
}

static inline struct task *task_new_on(const struct coro_attr *attr, void *(*fn)(void *), void *arg)
{
    struct task *t = (struct task *)coro_new(attr, KIT_EXTRA, kit_entry, NULL);
    if (!t)
        return NULL;
    t->fn = fn;
    t->arg = arg;
    t->result = NULL;
    t->done = 0;
    return t;
}

static inline struct task *task_new(void *(*fn)(void *), void *arg)
{
    struct coro_attr attr = {64 * 1024, 4096, NULL};
    return task_new_on(&attr, fn, arg);
}

/* Let it run until it yields or ends. */
static inline void task_run(struct task *t)
{
    struct task *before = kit_current;
    kit_current = t;
    coro_switch(&kit_main, &t->coro);
    kit_current = before;
}

static inline void task_yield(void)
{
    coro_switch(&kit_current->coro, &kit_main);
}

/* Give it back, run to its end or not. */
static inline void task_drop(struct task *t)
{
    struct coro_stack s;
    coro_stack_of(&t->coro, &s);
    __asan_unpoison_memory_region(s.low, s.size);
    coro_delete(&t->coro);
}

/* Run it to its end; returns the result and gives it back. */
static inline void *task_finish(struct task *t)
{
    while (!t->done)
        task_run(t);
    void *result = t->result;
    task_drop(t);
    return result;
}

/* What becomes of a forked child that runs fn: the wait status. */
static inline int status_of_child(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

/* A number from /proc/self/status, such as "VmRSS:" or "VmPTE:", in KiB. */
static inline long proc_status(const char *key)
{
    char line[256];
    long value = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtol(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return value;
}

static inline size_t mapping_count(void)
{
    size_t count = 0;
    int c;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && (c = getc(f)) != EOF)
        count += c == '\n';
    if (f)
        fclose(f);
    return count;
}

#ifdef __cplusplus
}
#endif
#endif
