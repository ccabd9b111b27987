/* 64 MiB both ways at once over one connection, each byte accounted for, with four threads: a
 * writer and a reader at each end. */
#include "kit/net.h"
#include "kit/threads.h"

enum { chunk = 64 * 1024 };
static const size_t total = 64UL * 1024 * 1024;

struct flow {
    int fd;
    uint64_t seed, sum;
    size_t bytes;
};

/* A sum that depends on the order. */
static uint64_t mix(uint64_t sum, const char *data, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    }
    return sum;
}

static void *writer(void *arg)
{
    struct flow *flow = arg;
    static _Thread_local char data[chunk];
    uint64_t state = flow->seed;
    while (flow->bytes < total) {
        for (size_t i = 0; i < chunk; i += 8) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            memcpy(data + i, &state, 8);
        }
        flow->sum = mix(flow->sum, data, chunk);
        for (size_t done = 0; done < chunk;) {
            ssize_t n = send(flow->fd, data + done, chunk - done, 0);
            if (n <= 0)
                return NULL;
            done += (size_t)n;
        }
        flow->bytes += chunk;
    }
    MUST(shutdown(flow->fd, SHUT_WR));
    return NULL;
}

static void *reader(void *arg)
{
    struct flow *flow = arg;
    static _Thread_local char data[chunk];
    for (;;) {
        size_t have = 0;
        while (have < chunk) {
            ssize_t n = recv(flow->fd, data + have, chunk - have, 0);
            if (n <= 0)
                return NULL;
            have += (size_t)n;
        }
        flow->sum = mix(flow->sum, data, chunk);
        flow->bytes += chunk;
    }
}

static void check_family(int family)
{
    int pair[2];
    struct flow flows[4];
    pthread_t threads[4];
    net_pair(family, SOCK_STREAM, pair);
    for (int i = 0; i < 4; i++) {
        flows[i] = (struct flow){.fd = pair[i / 2], .seed = (uint64_t)i + 1};
        threads[i] = start(i % 2 == 0 ? writer : reader, &flows[i]);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
        EQUALS(flows[i].bytes, total, "every byte went through");
    }
    HOLDS(flows[0].sum == flows[3].sum, "one way is intact");
    HOLDS(flows[2].sum == flows[1].sum, "the other way is intact");
    net_close(pair);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void tcp6(void)
{
    check_family(AF_INET6);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(tcp6), CHECK(local)};

TICKING_MAIN(checks)
