/* coro/: what C++ keeps for a thread, and unwinding through C++ frames. */
#include <criterion/criterion.h>
#include <exception>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unwind.h>
#include <csignal>
#include <sys/resource.h>

#include "coro_kit.h"

TestSuite(coro_cxx, .init = kit_start);

static void throw_deep(int depth, long me)
{
    std::string here(100, 'x');
    if (depth == 0)
        throw std::runtime_error(std::to_string(me));
    throw_deep(depth - 1, me);
}

/* Two exceptions are in flight at each switch: one being handled, one that was caught inside. */
static void *exceptions_in_flight(void *arg)
{
    long me = reinterpret_cast<long>(arg);
    long bad = 0;
    for (int i = 0; i < 10; i++) {
        try {
            throw_deep(10, me);
            bad++;
        } catch (const std::runtime_error &outer) {
            task_yield();
            try {
                throw_deep(5, me + 1);
            } catch (const std::runtime_error &inner) {
                task_yield();
                bad += std::stol(inner.what()) != me + 1;
                bad += std::uncaught_exceptions() != 0;
            }
            bad += std::stol(outer.what()) != me;
            try {
                task_yield();
                throw;
            } catch (const std::exception &again) {
                bad += std::stol(again.what()) != me;
            }
        }
    }
    return reinterpret_cast<void *>(bad);
}

Test(coro_cxx, ten_thousand_have_exceptions_in_flight_across_switches)
{
    enum { COUNT = 10000 };
    static struct task *t[COUNT];
    for (long i = 0; i < COUNT; i++)
        t[i] = task_new(exceptions_in_flight, reinterpret_cast<void *>(i));
    for (int round = 0; round < 30; round++)
        for (int i = 0; i < COUNT; i++)
            task_run(t[i]);
    for (int i = 0; i < COUNT; i++)
        cr_assert(task_finish(t[i]) == nullptr);
}

struct yields_when_destroyed {
    int *count;
    ~yields_when_destroyed()
    {
        task_yield();
        ++*count;
    }
};

/* A switch while an exception unwinds: the destructor yields. */
static void *yield_in_unwind(void *arg)
{
    int count = 0;
    try {
        yields_when_destroyed a{&count};
        yields_when_destroyed b{&count};
        throw arg;
    } catch (void *p) {
        return p == arg && count == 2 && std::uncaught_exceptions() == 0 ? arg : nullptr;
    }
}

Test(coro_cxx, destructors_may_switch_while_an_exception_unwinds)
{
    static struct task *t[100];
    for (auto &each : t)
        each = task_new(yield_in_unwind, &each);
    for (int round = 0; round < 2; round++)
        for (auto &each : t)
            task_run(each);
    for (auto &each : t)
        cr_assert(task_finish(each) == &each);
}

static int destroyed;

struct counted {
    ~counted() { destroyed++; }
};

__attribute__((noinline)) static void exit_under(int depth)
{
    counted here;
    if (depth == 0)
        pthread_exit(&destroyed);
    if (depth > 0)
        exit_under(depth - 1);
    __asm__ volatile("" : : "r"(&here) : "memory");
}

static void *exit_through_cxx(void *)
{
    counted outer;
    try {
        exit_under(9);
    } catch (const std::exception &) {
        destroyed = -1000; /* a forced unwind is no exception of this kind */
    } catch (...) {
        destroyed += 100;
        throw;
    }
    return nullptr;
}

Test(coro_cxx, pthread_exit_destroys_what_lies_on_the_stack)
{
    for (int i = 0; i < 3; i++) {
        destroyed = 0;
        cr_assert(task_finish(task_new(exit_through_cxx, nullptr)) == &destroyed);
        cr_assert(destroyed == 111);
    }
}

static void *cancelled_in_cxx(void *)
{
    counted outer;
    for (;;) {
        counted inner;
        task_yield();
        pthread_testcancel();
    }
}

Test(coro_cxx, cancellation_destroys_what_lies_on_the_stack)
{
    struct task *t = task_new(cancelled_in_cxx, nullptr);
    task_run(t);
    task_run(t);
    destroyed = 0;
    libc_cancel(t->coro.tp);
    cr_assert(task_finish(t) == PTHREAD_CANCELED);
    cr_assert(destroyed == 2);
}

static thread_local std::string words = "new";
static thread_local counted counted_per_thread;

static void *use_thread_local(void *arg)
{
    (void)&counted_per_thread;
    __asm__ volatile("" : : "r"(&counted_per_thread) : "memory");
    bool fresh = words == "new";
    words.assign(200, 'w');
    task_yield();
    return fresh && words.size() == 200 ? arg : nullptr;
}

Test(coro_cxx, thread_local_objects_are_made_and_destroyed_once_per_coroutine)
{
    static struct task *t[100];
    destroyed = 0;
    for (int turn = 1; turn <= 3; turn++) {
        for (auto &each : t)
            task_run(each = task_new(use_thread_local, &each));
        for (auto &each : t)
            cr_assert(task_finish(each) == &each);
        cr_assert(destroyed == 100 * turn);
    }
}

static void *throw_out(void *)
{
    throw std::runtime_error("nobody catches this");
}

static void no_core()
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    fclose(stderr);
    std::set_terminate([] { _exit(77); });
    task_finish(task_new(throw_out, nullptr));
}

Test(coro_cxx, an_exception_that_nobody_catches_ends_in_terminate)
{
    int status = status_of_child(no_core);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 77);
}
