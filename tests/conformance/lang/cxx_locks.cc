// Mutexes of every kind, lock helpers, condition variables with both interfaces, shared mutexes.
#include "check.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

template <typename Function> static void in_threads(int count, Function function)
{
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; i++) {
        threads.emplace_back(function, i);
    }
}

template <typename Mutex> static void exclude()
{
    Mutex mutex;
    int counter = 0;
    in_threads(6, [&](int) {
        for (int i = 0; i < 200; i++) {
            std::lock_guard lock(mutex);
            int seen = counter;
            if (i % 16 == 0) {
                std::this_thread::yield();
            }
            counter = seen + 1;
        }
    });
    EXPECT_EQ(counter, 1200);
}

static void every_mutex_excludes()
{
    exclude<std::mutex>();
    exclude<std::recursive_mutex>();
    exclude<std::timed_mutex>();
    exclude<std::recursive_timed_mutex>();
    exclude<std::shared_mutex>();
    exclude<std::shared_timed_mutex>();
}

static void timed_locks_time_out()
{
    std::timed_mutex mutex;
    std::recursive_timed_mutex recursive;
    std::lock_guard lock(mutex);
    std::lock_guard also(recursive);
    EXPECT(recursive.try_lock());
    recursive.unlock();
    in_threads(3, [&](int) {
        auto began = std::chrono::steady_clock::now();
        EXPECT(!mutex.try_lock());
        EXPECT(!mutex.try_lock_for(20ms));
        EXPECT(std::chrono::steady_clock::now() - began >= 20ms);
        EXPECT(!mutex.try_lock_until(std::chrono::system_clock::now() + 5ms));
        EXPECT(!recursive.try_lock_for(5ms));
    });
}

static void several_at_once_without_deadlock()
{
    std::mutex a, b, c;
    int counter = 0;
    in_threads(6, [&](int me) {
        for (int i = 0; i < 100; i++) {
            switch (me % 3) {
            case 0: {
                std::scoped_lock lock(a, b, c);
                counter++;
                break;
            }
            case 1: {
                std::scoped_lock lock(c, b, a);
                counter++;
                break;
            }
            default: {
                std::unique_lock first(b, std::defer_lock), second(a, std::defer_lock), third(c, std::defer_lock);
                std::lock(first, second, third);
                counter++;
            }
            }
        }
    });
    EXPECT_EQ(counter, 600);
}

static void queues_with_condition_variables()
{
    std::mutex mutex;
    std::condition_variable filled, drained;
    std::deque<int> queue;
    std::atomic<long> sum{0};
    in_threads(6, [&](int me) {
        for (int i = 1; i <= 200; i++) {
            std::unique_lock lock(mutex);
            if (me % 2) {
                drained.wait(lock, [&] { return queue.size() < 5; });
                queue.push_back(i);
                filled.notify_one();
            } else {
                EXPECT(filled.wait_for(lock, 10s, [&] { return !queue.empty(); }));
                sum += queue.front();
                queue.pop_front();
                drained.notify_one();
            }
        }
    });
    EXPECT_EQ(sum, 3 * 200 * 201 / 2);
}

static void waits_time_out()
{
    std::mutex mutex;
    std::condition_variable condition;
    std::condition_variable_any any;
    std::unique_lock lock(mutex);
    auto began = std::chrono::steady_clock::now();
    EXPECT(condition.wait_for(lock, 20ms) == std::cv_status::timeout);
    EXPECT(std::chrono::steady_clock::now() - began >= 20ms);
    EXPECT(condition.wait_until(lock, std::chrono::system_clock::now() + 5ms) == std::cv_status::timeout);
    EXPECT(!condition.wait_until(lock, std::chrono::steady_clock::now() + 5ms, [] { return false; }));
    EXPECT(any.wait_for(lock, 5ms) == std::cv_status::timeout);
    EXPECT(lock.owns_lock());
}

static void condition_variable_any_takes_any_lock()
{
    std::shared_mutex mutex;
    std::condition_variable_any condition;
    int stage = 0;
    std::vector<std::jthread> threads;
    std::atomic<int> passed{0};
    for (int i = 0; i < 5; i++) {
        threads.emplace_back([&] {
            std::shared_lock lock(mutex);
            condition.wait(lock, [&] { return stage == 1; });
            passed++;
        });
    }
    std::this_thread::sleep_for(10ms);
    {
        std::unique_lock lock(mutex);
        stage = 1;
    }
    condition.notify_all();
    threads.clear();
    EXPECT_EQ(passed, 5);
}

static void stop_requests_end_a_wait()
{
    std::mutex mutex;
    std::condition_variable_any condition;
    std::atomic<int> ended{0};
    std::jthread thread([&](std::stop_token token) {
        std::unique_lock lock(mutex);
        EXPECT(!condition.wait(lock, token, [] { return false; }));
        EXPECT(lock.owns_lock());
        ended = 1;
    });
    std::this_thread::sleep_for(10ms);
    EXPECT_EQ(ended, 0);
    thread.request_stop();
    thread.join();
    EXPECT_EQ(ended, 1);
}

static void notify_all_at_thread_exit()
{
    std::mutex mutex;
    std::condition_variable condition;
    bool ready = false;
    std::thread thread([&] {
        std::unique_lock lock(mutex);
        ready = true;
        std::notify_all_at_thread_exit(condition, std::move(lock));
    });
    {
        std::unique_lock lock(mutex);
        condition.wait(lock, [&] { return ready; });
    }
    thread.join();
}

static void readers_share_and_writers_exclude()
{
    std::shared_timed_mutex mutex;
    int value = 0, twin = 0;
    {
        std::shared_lock first(mutex), second(mutex);
        EXPECT(first.owns_lock() && second.owns_lock());
        EXPECT(!mutex.try_lock_for(5ms));
    }
    {
        std::unique_lock writer(mutex);
        in_threads(1, [&](int) {
            EXPECT(!mutex.try_lock_shared());
            EXPECT(!mutex.try_lock_shared_for(5ms));
        });
    }
    in_threads(8, [&](int me) {
        for (int i = 0; i < 100; i++) {
            if (me % 4 == 0) {
                std::unique_lock lock(mutex);
                value++;
                std::this_thread::yield();
                twin++;
            } else {
                std::shared_lock lock(mutex);
                EXPECT_EQ(value, twin);
                if (i % 8 == 0) {
                    std::this_thread::yield();
                }
                EXPECT_EQ(value, twin);
            }
        }
    });
    EXPECT_EQ(value, 200);
}

static const struct check checks[] = {
    CHECK(every_mutex_excludes),
    CHECK(timed_locks_time_out),
    CHECK(several_at_once_without_deadlock),
    CHECK(queues_with_condition_variables),
    CHECK(waits_time_out),
    CHECK(condition_variable_any_takes_any_lock),
    CHECK(stop_requests_end_a_wait),
    CHECK(notify_all_at_thread_exit),
    CHECK(readers_share_and_writers_exclude),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
