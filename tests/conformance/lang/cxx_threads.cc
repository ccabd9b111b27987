// std::thread, std::jthread, std::this_thread, thread_local objects, std::call_once.
#include "check.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static void arguments_are_passed()
{
    int number = 0;
    std::string text;
    std::thread first([](int a, const std::string &b, int &out) { out = a + (int)b.size(); }, 5, "four", std::ref(number));
    std::thread second([&text](std::string moved) { text = std::move(moved); }, std::string(1000, 'x'));
    EXPECT(first.joinable());
    first.join();
    second.join();
    EXPECT(!first.joinable());
    EXPECT_EQ(number, 9);
    EXPECT_EQ(text.size(), 1000);
    struct Functor {
        int *target;
        void operator()(int add) { *target += add; }
        void method(int add) { *target += 2 * add; }
    } functor{&number};
    std::thread(functor, 1).join();
    std::thread(&Functor::method, &functor, 10).join();
    EXPECT_EQ(number, 30);
}

static void ids_are_unique_and_comparable()
{
    std::mutex mutex;
    std::set<std::thread::id> ids;
    std::vector<std::thread> threads;
    std::atomic<int> arrived{0};
    for (int i = 0; i < 50; i++) {
        threads.emplace_back([&] {
            {
                std::lock_guard lock(mutex);
                ids.insert(std::this_thread::get_id());
            }
            arrived++;
            while (arrived < 50) {
                std::this_thread::yield();
            }
        });
    }
    for (auto &thread : threads) {
        EXPECT(thread.get_id() != std::thread::id());
        thread.join();
    }
    EXPECT_EQ(ids.size(), 50);
    EXPECT(ids.count(std::this_thread::get_id()) == 0);
    EXPECT(std::thread::hardware_concurrency() > 0);
}

static void wrong_joins_throw()
{
    std::thread none;
    try {
        none.join();
        EXPECT(!"join of nothing");
    } catch (const std::system_error &error) {
        EXPECT(error.code() == std::errc::invalid_argument);
    }
    std::thread self;
    std::atomic<bool> set{false};
    bool caught = false;
    self = std::thread([&] {
        while (!set) {
            std::this_thread::yield();
        }
        try {
            self.join();
        } catch (const std::system_error &error) {
            caught = error.code() == std::errc::resource_deadlock_would_occur;
        }
    });
    set = true;
    self.join();
    EXPECT(caught);
}

static int leave_joinable()
{
    FILE *quiet = freopen("/dev/null", "w", stderr);
    (void)quiet;
    std::thread thread([] { std::this_thread::sleep_for(10s); });
    return 0;
}

static int throw_out_of_thread()
{
    FILE *quiet = freopen("/dev/null", "w", stderr);
    (void)quiet;
    std::thread([] { throw std::runtime_error("out"); }).join();
    return 0;
}

static void destroying_a_joinable_thread_terminates()
{
    EXPECT_KILLED(child_run(leave_joinable), SIGABRT);
    EXPECT_KILLED(child_run(throw_out_of_thread), SIGABRT);
}

static void sleeping()
{
    auto began = std::chrono::steady_clock::now();
    std::thread thread([] { std::this_thread::sleep_for(20ms); });
    std::this_thread::sleep_until(std::chrono::system_clock::now() + 20ms);
    thread.join();
    EXPECT(std::chrono::steady_clock::now() - began >= 20ms);
    EXPECT(std::chrono::steady_clock::now() - began < 15s);
}

static void jthreads_stop_and_join()
{
    std::atomic<int> rounds{0}, called{0};
    {
        std::jthread worker([&](std::stop_token token) {
            std::stop_callback callback(token, [&] { called++; });
            while (!token.stop_requested()) {
                rounds++;
                std::this_thread::sleep_for(1ms);
            }
        });
        while (rounds < 3) {
            std::this_thread::yield();
        }
    }
    EXPECT(rounds >= 3);
    EXPECT_EQ(called, 1);
    std::jthread other([](std::stop_token token, int n) { EXPECT(n == 4 && token.stop_possible()); }, 4);
    EXPECT(other.request_stop());
    EXPECT(!other.request_stop());
}

static std::string trace;
static std::mutex trace_mutex;

struct Traced {
    std::string name;
    explicit Traced(std::string n) : name(std::move(n)) {}
    ~Traced()
    {
        std::this_thread::yield();
        std::lock_guard lock(trace_mutex);
        trace += name + " ";
    }
};

static void use_thread_locals()
{
    static thread_local Traced first("first");
    static thread_local Traced second("second");
    thread_local Traced third(first.name + "+" + second.name);
    EXPECT(third.name == "first+second");
}

static void thread_locals_die_in_reverse_order()
{
    trace.clear();
    std::thread(use_thread_locals).join();
    printf("%s\n", trace.c_str());
    EXPECT(trace == "first+second second first ");
    trace.clear();
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; i++) {
        threads.emplace_back(use_thread_locals);
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(std::count(trace.begin(), trace.end(), ' '), 60);
}

static void called_once_despite_exceptions()
{
    std::once_flag flag;
    std::atomic<int> tries{0}, thrown{0}, done{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; i++) {
        threads.emplace_back([&] {
            try {
                std::call_once(flag, [&] {
                    std::this_thread::sleep_for(2ms);
                    if (++tries <= 3) {
                        throw std::runtime_error("not yet");
                    }
                    done++;
                });
            } catch (const std::runtime_error &) {
                thrown++;
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(tries, 4);
    EXPECT_EQ(thrown, 3);
    EXPECT_EQ(done, 1);
}

static void statics_are_initialised_once()
{
    struct Slow {
        int value;
        Slow() : value(0)
        {
            static std::atomic<int> constructions{0};
            std::this_thread::sleep_for(5ms);
            value = ++constructions;
        }
    };
    std::vector<std::thread> threads;
    std::atomic<int> sum{0};
    for (int i = 0; i < 20; i++) {
        threads.emplace_back([&] {
            static Slow slow;
            sum += slow.value;
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(sum, 20);
}

static void detached_threads_go_on()
{
    std::atomic<int> *count = new std::atomic<int>(0);
    for (int i = 0; i < 20; i++) {
        std::thread([count] {
            std::this_thread::sleep_for(1ms);
            ++*count;
        }).detach();
    }
    for (int i = 0; i < 5000 && *count < 20; i++) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(*count, 20);
    std::this_thread::sleep_for(2ms);
    delete count;
}

static const struct check checks[] = {
    CHECK(arguments_are_passed),
    CHECK(ids_are_unique_and_comparable),
    CHECK(wrong_joins_throw),
    CHECK(destroying_a_joinable_thread_terminates),
    CHECK(sleeping),
    CHECK(jthreads_stop_and_join),
    CHECK(thread_locals_die_in_reverse_order),
    CHECK(called_once_despite_exceptions),
    CHECK(statics_are_initialised_once),
    CHECK(detached_threads_go_on),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
