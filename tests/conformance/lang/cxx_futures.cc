// std::async, promise, future, shared_future, packaged_task: values, exceptions, deadlines.
#include "check.h"

#include <atomic>
#include <chrono>
#include <future>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static void values_and_exceptions_come_across()
{
    std::vector<std::future<int>> futures;
    for (int i = 0; i < 40; i++) {
        futures.push_back(std::async(std::launch::async, [i] {
            std::this_thread::sleep_for(std::chrono::microseconds(i * 50));
            if (i % 5 == 4) {
                throw std::runtime_error("task " + std::to_string(i));
            }
            return i * i;
        }));
    }
    for (int i = 0; i < 40; i++) {
        try {
            EXPECT_EQ(futures[i].get(), i * i);
            EXPECT(i % 5 != 4);
        } catch (const std::runtime_error &error) {
            EXPECT(error.what() == "task " + std::to_string(i));
        }
        EXPECT(!futures[i].valid());
    }
}

static void deferred_tasks_run_in_the_caller()
{
    auto self = std::this_thread::get_id();
    auto deferred = std::async(std::launch::deferred, [] { return std::this_thread::get_id(); });
    auto started = std::async(std::launch::async, [] { return std::this_thread::get_id(); });
    EXPECT(deferred.wait_for(0s) == std::future_status::deferred);
    EXPECT(deferred.get() == self);
    EXPECT(started.get() != self);
}

static void promises_are_kept_or_broken()
{
    std::promise<std::string> promise;
    auto future = promise.get_future();
    EXPECT(future.wait_for(10ms) == std::future_status::timeout);
    EXPECT(future.wait_until(std::chrono::steady_clock::now() + 5ms) == std::future_status::timeout);
    std::thread thread([&] {
        std::this_thread::sleep_for(5ms);
        promise.set_value("kept");
    });
    EXPECT(future.wait_for(10s) == std::future_status::ready);
    EXPECT(future.get() == "kept");
    thread.join();
    std::future<int> broken;
    {
        std::promise<int> forgotten;
        broken = forgotten.get_future();
    }
    try {
        broken.get();
        EXPECT(!"a broken promise");
    } catch (const std::future_error &error) {
        EXPECT(error.code() == std::future_errc::broken_promise);
    }
}

static void shared_futures_tell_everybody()
{
    std::promise<int> promise;
    std::shared_future<int> shared = promise.get_future().share();
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; i++) {
        threads.emplace_back([shared, &sum] { sum += shared.get(); });
    }
    std::this_thread::sleep_for(5ms);
    promise.set_value(3);
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(sum, 60);
}

static void packaged_tasks_run_elsewhere()
{
    std::packaged_task<int(int, int)> task([](int a, int b) { return a * b; });
    auto future = task.get_future();
    std::thread thread(std::move(task), 6, 7);
    EXPECT_EQ(future.get(), 42);
    thread.join();
    std::promise<void> exit_promise;
    auto exit_future = exit_promise.get_future();
    static thread_local std::string late;
    std::thread([&] {
        late = "still there";
        exit_promise.set_value_at_thread_exit();
    }).join();
    exit_future.get();
}

static long sum_in_halves(const int *begin, const int *end)
{
    if (end - begin < 200) {
        return std::accumulate(begin, end, 0L);
    }
    const int *middle = begin + (end - begin) / 2;
    auto right = std::async(std::launch::async, sum_in_halves, middle, end);
    return sum_in_halves(begin, middle) + right.get();
}

static void divide_and_conquer()
{
    std::vector<int> numbers(10000);
    std::iota(numbers.begin(), numbers.end(), 1);
    EXPECT_EQ(sum_in_halves(numbers.data(), numbers.data() + numbers.size()), 50005000);
}

static const struct check checks[] = {
    CHECK(values_and_exceptions_come_across),
    CHECK(deferred_tasks_run_in_the_caller),
    CHECK(promises_are_kept_or_broken),
    CHECK(shared_futures_tell_everybody),
    CHECK(packaged_tasks_run_elsewhere),
    CHECK(divide_and_conquer),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
