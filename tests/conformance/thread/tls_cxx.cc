// C++ over switches: exceptions in flight, thread_local construction and destruction order.
#include "check.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

enum { THREADS = 30 };

static std::string message(intptr_t me, int round)
{
    return "thread " + std::to_string(me) + " round " + std::to_string(round);
}

static void *throw_over_switches(void *argument)
{
    intptr_t me = (intptr_t)argument;
    for (int round = 0; round < 10; round++) {
        try {
            sched_yield();
            throw std::runtime_error(message(me, round));
        } catch (const std::exception &caught) {
            sched_yield();
            EXPECT(message(me, round) == caught.what());
            try {
                throw me;
            } catch (intptr_t inner) {
                sleep_ms(round % 5 == 0);
                EXPECT_EQ(inner, me);
            }
            sched_yield();
            EXPECT(std::current_exception() != nullptr);
            try {
                throw;
            } catch (const std::runtime_error &again) {
                sched_yield();
                EXPECT(message(me, round) == again.what());
            }
        }
        EXPECT(std::current_exception() == nullptr);
    }
    return argument;
}

static void run_all(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(function, reinterpret_cast<void *>(i));
    }
    for (intptr_t i = 0; i < THREADS; i++) {
        EXPECT(finish(threads[i]) == reinterpret_cast<void *>(i));
    }
}

static void caught_exceptions_are_per_thread()
{
    run_all(throw_over_switches);
}

struct YieldingDestructor {
    int *counter;
    ~YieldingDestructor()
    {
        EXPECT_EQ(std::uncaught_exceptions(), 1);
        sched_yield();
        EXPECT_EQ(std::uncaught_exceptions(), 1);
        ++*counter;
    }
};

static void *switch_while_unwinding(void *argument)
{
    for (int round = 0; round < 10; round++) {
        int destroyed = 0;
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        try {
            YieldingDestructor a{&destroyed}, b{&destroyed}, c{&destroyed};
            throw round;
        } catch (int value) {
            EXPECT_EQ(value, round);
        }
        EXPECT_EQ(destroyed, 3);
    }
    return argument;
}

static void switches_in_the_middle_of_unwinding()
{
    run_all(switch_while_unwinding);
}

static std::string trace;
static pthread_key_t key;

struct Local {
    const char *text;
    explicit Local(const char *t) : text(t) { trace += std::string("+") + t; }
    ~Local() { trace += std::string("-") + text; }
};

static thread_local Local first("1");
static thread_local Local second("2");

static void *use_locals(void *argument)
{
    pthread_setspecific(key, "k");
    (void)second.text;
    static thread_local Local third("3");
    Local on_stack("s");
    if (argument) {
        pthread_exit(argument);
    }
    return third.text ? nullptr : argument;
}

static void thread_locals_end_after_the_stack_and_before_keys()
{
    EXPECT_EQ(pthread_key_create(&key, [](void *text) { trace += static_cast<char *>(text); }), 0);
    for (int way = 0; way < 2; way++) {
        trace.clear();
        finish(start(use_locals, way ? &trace : nullptr));
        printf("trace %s\n", trace.c_str());
        EXPECT(trace == "+1+2+3+s-s-3-2-1k");
    }
}

static thread_local std::vector<std::string> words;

static void *fill_words(void *argument)
{
    EXPECT_EQ(words.size(), 0);
    for (int i = 0; i < 100; i++) {
        words.push_back(message((intptr_t)argument, i));
        if (i % 20 == 0) {
            sched_yield();
        }
    }
    EXPECT(words.back() == message((intptr_t)argument, 99));
    EXPECT_EQ(words.size(), 100);
    return argument;
}

static void thread_local_containers_are_fresh()
{
    run_all(fill_words);
    run_all(fill_words);
    EXPECT_EQ(words.size(), 0);
}

struct Registers {
    ~Registers();
};

struct Late {
    ~Late() { trace += "late"; }
};

static void touch_late()
{
    static thread_local Late late;
    (void)late;
}

Registers::~Registers()
{
    trace += "early ";
    touch_late();
}

static void *use_registers(void *argument)
{
    static thread_local Registers registers;
    (void)registers;
    return argument;
}

static void destructor_may_make_a_new_thread_local()
{
    trace.clear();
    finish(start(use_registers, nullptr));
    EXPECT(trace == "early late");
}

struct Blocking {
    int *done = nullptr;
    ~Blocking()
    {
        sleep_ms(5);
        if (done) {
            atomic_add(done, 1);
        }
    }
};

static int done;

static void *use_blocking(void *argument)
{
    static thread_local Blocking blocking;
    blocking.done = &done;
    return argument;
}

static void thread_local_destructors_may_block()
{
    atomic_set(&done, 0);
    run_all(use_blocking);
    EXPECT_EQ(atomic_get(&done), THREADS);
}

static void exception_ptr_moves_between_threads()
{
    std::exception_ptr carried;
    pthread_t thread = start(
        [](void *place) -> void * {
            try {
                throw std::out_of_range("carried");
            } catch (...) {
                *static_cast<std::exception_ptr *>(place) = std::current_exception();
            }
            return nullptr;
        },
        &carried);
    finish(thread);
    try {
        std::rethrow_exception(carried);
    } catch (const std::out_of_range &caught) {
        EXPECT(std::string("carried") == caught.what());
    }
}

static const struct check checks[] = {
    CHECK(caught_exceptions_are_per_thread),
    CHECK(switches_in_the_middle_of_unwinding),
    CHECK(thread_locals_end_after_the_stack_and_before_keys),
    CHECK(thread_local_containers_are_fresh),
    CHECK(destructor_may_make_a_new_thread_local),
    CHECK(thread_local_destructors_may_block),
    CHECK(exception_ptr_moves_between_threads),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
