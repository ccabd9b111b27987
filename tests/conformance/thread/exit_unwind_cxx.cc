// pthread_exit and cancellation unwind C++ frames: destructors run, catch (...) sees the unwinding and must pass it on.
#include "check.h"

#include <cxxabi.h>
#include <semaphore.h>
#include <string>

static std::string trace;
static int running;

struct Note {
    const char *text;
    explicit Note(const char *t) : text(t) {}
    ~Note() { trace += text; }
};

static void *exit_through_frames(void *argument)
{
    Note outer("1");
    [&] {
        Note middle("2");
        try {
            Note inner("3");
            pthread_exit(argument);
        } catch (abi::__forced_unwind &) {
            trace += "f";
            throw;
        }
    }();
    return nullptr;
}

static void exit_runs_destructors()
{
    trace.clear();
    EXPECT(finish(start(exit_through_frames, &trace)) == &trace);
    EXPECT(trace == "3f21");
}

static void *exit_through_catch_all(void *argument)
{
    try {
        Note inner("i");
        pthread_exit(argument);
    } catch (...) {
        trace += "c";
        throw;
    }
    return nullptr;
}

static void catch_all_sees_the_unwinding()
{
    trace.clear();
    EXPECT(finish(start(exit_through_catch_all, &trace)) == &trace);
    EXPECT(trace == "ic");
}

static void *sleep_in_frames(void *)
{
    Note outer("A");
    try {
        Note inner("B");
        atomic_set(&running, 1);
        sleep(3600);
    } catch (abi::__forced_unwind &) {
        trace += "u";
        throw;
    }
    return nullptr;
}

static void cancellation_runs_destructors()
{
    for (int i = 0; i < 20; i++) {
        trace.clear();
        atomic_set(&running, 0);
        pthread_t thread = start(sleep_in_frames, nullptr);
        if (i % 2) {
            EXPECT(wait_for_value(&running, 1));
        }
        EXPECT_EQ(pthread_cancel(thread), 0);
        EXPECT(finish(thread) == PTHREAD_CANCELED);
        EXPECT(trace == "BuA");
    }
}

static void *cleanup_macros_in_cxx(void *)
{
    Note first("1");
    pthread_cleanup_push([](void *text) { trace += static_cast<const char *>(text); }, const_cast<char *>("p"));
    Note second("2");
    pthread_testcancel();
    sleep(3600);
    pthread_cleanup_pop(0);
    return nullptr;
}

static void cleanup_macros_mix_with_destructors()
{
    trace.clear();
    pthread_t thread = start(cleanup_macros_in_cxx, nullptr);
    let_others_block();
    EXPECT_EQ(pthread_cancel(thread), 0);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT(trace == "2p1");
}

struct SleepingDestructor {
    ~SleepingDestructor()
    {
        sleep_ms(10);
        trace += "z";
    }
};

static void *exit_with_sleeping_destructor(void *argument)
{
    SleepingDestructor slow;
    Note quick("q");
    pthread_exit(argument);
}

static void destructors_may_block()
{
    trace.clear();
    finish(start(exit_with_sleeping_destructor, nullptr));
    EXPECT(trace == "qz");
}

static void *throw_and_catch_in_destructor(void *argument)
{
    struct Thrower {
        ~Thrower()
        {
            try {
                throw 5;
            } catch (int value) {
                trace += value == 5 ? "5" : "?";
            }
        }
    } thrower;
    pthread_exit(argument);
}

static void destructors_may_throw_inside()
{
    trace.clear();
    finish(start(throw_and_catch_in_destructor, nullptr));
    EXPECT(trace == "5");
}

static int let_exception_escape()
{
    FILE *quiet = freopen("/dev/null", "w", stderr);
    (void)quiet;
    finish(start([](void *) -> void * { throw 1; }, nullptr));
    return 0;
}

static void escaping_exception_aborts()
{
    EXPECT_KILLED(child_run(let_exception_escape), SIGABRT);
}

static int swallow_the_unwinding()
{
    FILE *quiet = freopen("/dev/null", "w", stderr);
    (void)quiet;
    finish(start(
        [](void *) -> void * {
            try {
                pthread_exit(nullptr);
            } catch (...) {
            }
            return nullptr;
        },
        nullptr));
    return 0;
}

static void swallowed_unwinding_aborts()
{
    EXPECT_KILLED(child_run(swallow_the_unwinding), SIGABRT);
}

static const struct check checks[] = {
    CHECK(exit_runs_destructors),
    CHECK(catch_all_sees_the_unwinding),
    CHECK(cancellation_runs_destructors),
    CHECK(cleanup_macros_mix_with_destructors),
    CHECK(destructors_may_block),
    CHECK(destructors_may_throw_inside),
    CHECK(escaping_exception_aborts),
    CHECK(swallowed_unwinding_aborts),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
