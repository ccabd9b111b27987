// A C++20 server with a std::thread for every connection: echo_cpp20 PORT. Each request passes
// through what the language offers for waiting: std::atomic::wait, a counting_semaphore, a condition
// variable with a stop token, thread_local objects with destructors, exceptions.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <mutex>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

std::atomic<long> alive{0};       // thread_local objects that exist
std::counting_semaphore<64> gate{64};

struct PerThread {
    std::string name;
    long served = 0;
    PerThread() { alive.fetch_add(1); }
    ~PerThread() { alive.fetch_sub(1); }
};

thread_local PerThread mine;

struct Closed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::size_t receive(int fd, char *buf, std::size_t len)
{
    ssize_t n = ::recv(fd, buf, len, 0);
    if (n <= 0) {
        throw Closed(n == 0 ? "end of file" : std::strerror(errno));
    }
    return static_cast<std::size_t>(n);
}

void reply(int fd, const char *buf, std::size_t len)
{
    while (len > 0) {
        ssize_t n = ::send(fd, buf, len, MSG_NOSIGNAL);
        if (n < 0) {
            throw Closed(std::strerror(errno));
        }
        buf += n;
        len -= static_cast<std::size_t>(n);
    }
}

void serve(int fd)
{
    const std::string name = "connection " + std::to_string(fd);
    mine.name = name;
    char buf[4096];
    try {
        for (;;) {
            std::size_t n = receive(fd, buf, sizeof(buf));
            gate.acquire(); // no more than 64 reply at once
            try {
                reply(fd, buf, n);
            } catch (...) {
                gate.release();
                throw;
            }
            gate.release();
            mine.served++;
            if (mine.name != name) {
                std::fprintf(stderr, "thread_local of another thread: %s\n", mine.name.c_str());
                std::abort();
            }
        }
    } catch (const Closed &) {
        ::close(fd);
    }
}

// Five threads meet at a latch and wait for an atomic to change, before any client is served.
void rehearse()
{
    std::latch met{5};
    std::atomic<int> go{0};
    std::mutex lock;
    std::condition_variable_any changed;
    int done = 0;
    for (int i = 0; i < 5; i++) {
        std::thread([&] {
            met.arrive_and_wait();
            go.wait(0);
            std::unique_lock held(lock);
            done++;
            changed.notify_all();
        }).detach();
    }
    met.wait();
    go = 1;
    go.notify_all();
    std::unique_lock held(lock);
    changed.wait(held, [&] { return done == 5; });
    std::printf("rehearsed: %d\n", done);
    std::fflush(stdout);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: echo_cpp20 PORT\n");
        return 2;
    }
    std::signal(SIGTERM, [](int) { ::_exit(0); });
    rehearse();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = ::socket(AF_INET, SOCK_STREAM, 0), one = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (::bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0 ||
        ::listen(listener, 8192) < 0) {
        std::perror("echo_cpp20");
        return 1;
    }
    for (;;) {
        int fd = ::accept(listener, nullptr, nullptr);
        if (fd < 0) {
            std::perror("accept");
            continue;
        }
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        std::thread(serve, fd).detach();
    }
}
