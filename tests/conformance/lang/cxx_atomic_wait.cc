// std::atomic::wait, latch, barrier and counting_semaphore, which sleep on futexes of their own or spin and yield.
#include "check.h"

#include <atomic>
#include <barrier>
#include <chrono>
#include <latch>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

enum { THREADS = 8 };

template <typename Function> static void in_threads(int count, Function function)
{
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; i++) {
        threads.emplace_back(function, i);
    }
}

template <typename T> static void ping_pong(int rounds)
{
    std::atomic<T> ball{0};
    std::jthread other([&] {
        for (int i = 0; i < rounds; i++) {
            ball.wait(0);
            ball.store(0);
            ball.notify_one();
        }
    });
    for (int i = 0; i < rounds; i++) {
        ball.store(1);
        ball.notify_one();
        ball.wait(1);
    }
    EXPECT_EQ(ball.load(), 0);
}

static void words_of_every_size()
{
    ping_pong<int>(500);
    ping_pong<char>(300);
    ping_pong<short>(300);
    ping_pong<long long>(300);
    ping_pong<bool>(300);
}

static void notify_all_wakes_everybody()
{
    std::atomic<int> gate{0}, passed{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < THREADS; i++) {
        threads.emplace_back([&] {
            gate.wait(0);
            passed++;
        });
    }
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(passed, 0);
    gate = 1;
    gate.notify_all();
    threads.clear();
    EXPECT_EQ(passed, THREADS);
}

static void notify_without_change_wakes_nobody()
{
    std::atomic<int> gate{0}, passed{0};
    std::jthread thread([&] {
        gate.wait(0);
        passed++;
    });
    for (int i = 0; i < 10; i++) {
        gate.notify_all();
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(passed, 0);
    gate = 2;
    gate.notify_one();
}

static void flags()
{
    std::atomic_flag flag;
    std::atomic<int> order{0};
    std::jthread thread([&] {
        flag.wait(false);
        order = order * 10 + 2;
        flag.clear();
        flag.notify_one();
    });
    order = 1;
    flag.test_and_set();
    flag.notify_one();
    flag.wait(true);
    EXPECT_EQ(order, 12);
}

static void shared_pointers_to_atomics_survive()
{
    for (int i = 0; i < 200; i++) {
        auto shared = std::make_shared<std::atomic<int>>(0);
        std::thread([shared] {
            *shared = 1;
            shared->notify_all();
        }).detach();
        shared->wait(0);
    }
}

static void latches()
{
    std::latch ready(THREADS), go(1);
    std::atomic<int> before{0}, after{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < THREADS; i++) {
            threads.emplace_back([&] {
                before++;
                ready.count_down();
                go.wait();
                after++;
            });
        }
        ready.wait();
        EXPECT_EQ(before, THREADS);
        EXPECT_EQ(after, 0);
        EXPECT(!go.try_wait());
        go.count_down();
        EXPECT(go.try_wait());
    }
    EXPECT_EQ(after, THREADS);
    std::latch together(THREADS);
    in_threads(THREADS, [&](int) { together.arrive_and_wait(); });
}

static void barriers_with_a_completion()
{
    std::atomic<int> phases{0}, arrivals{0};
    auto completion = [&]() noexcept {
        EXPECT_EQ(arrivals, THREADS * (phases + 1));
        phases++;
    };
    std::barrier barrier(THREADS, completion);
    in_threads(THREADS, [&](int) {
        for (int round = 0; round < 50; round++) {
            arrivals++;
            barrier.arrive_and_wait();
            EXPECT(phases > round);
        }
    });
    EXPECT_EQ(phases, 50);
    std::barrier dropping(3);
    in_threads(3, [&](int me) {
        dropping.arrive_and_wait();
        if (me == 0) {
            dropping.arrive_and_drop();
            return;
        }
        for (int i = 0; i < 10; i++) {
            auto token = dropping.arrive();
            dropping.wait(std::move(token));
        }
    });
}

static void counting_semaphores()
{
    std::counting_semaphore<4> slots(4);
    std::atomic<int> inside{0}, most{0};
    in_threads(12, [&](int) {
        for (int i = 0; i < 20; i++) {
            slots.acquire();
            int now = ++inside;
            EXPECT(now <= 4);
            if (now > most) {
                most = now;
            }
            std::this_thread::yield();
            inside--;
            slots.release();
        }
    });
    EXPECT_EQ(inside, 0);
    EXPECT(most >= 1);
    std::binary_semaphore empty(0);
    EXPECT(!empty.try_acquire());
    auto began = std::chrono::steady_clock::now();
    EXPECT(!empty.try_acquire_for(20ms));
    EXPECT(std::chrono::steady_clock::now() - began >= 20ms);
    EXPECT(!empty.try_acquire_until(std::chrono::steady_clock::now() + 5ms));
    std::jthread releaser([&] {
        std::this_thread::sleep_for(5ms);
        empty.release();
    });
    EXPECT(empty.try_acquire_for(10s));
}

static void spinning_with_yields_ends()
{
    std::atomic<bool> flag{false};
    std::jthread setter([&] {
        std::this_thread::sleep_for(2ms);
        flag = true;
    });
    while (!flag) {
        std::this_thread::yield();
    }
}

static const struct check checks[] = {
    CHECK(words_of_every_size),
    CHECK(notify_all_wakes_everybody),
    CHECK(notify_without_change_wakes_nobody),
    CHECK(flags),
    CHECK(shared_pointers_to_atomics_survive),
    CHECK(latches),
    CHECK(barriers_with_a_completion),
    CHECK(counting_semaphores),
    CHECK(spinning_with_yields_ends),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
