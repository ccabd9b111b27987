/* poll() of 1,000 descriptors of which another thread makes one ready: processor nanoseconds per poll that had to
 * wait, the waker's part included. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"

static int *fds, reply;
static long count, rounds;

static void *waker(void *arg)
{
    uint64_t one = 1, got;
    unsigned x = 12345;

    (void)arg;
    for (long i = 0; i < rounds; i++) {
        x = x * 1103515245 + 12345;
        if (write(fds[(x >> 8) % (unsigned)count], &one, sizeof(one)) != sizeof(one) ||
            read(reply, &got, sizeof(got)) != sizeof(got)) {
            perror("poll_many");
            exit(1);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct pollfd *set;
    pthread_t thread;
    uint64_t began, one = 1, got;

    count = bench_number(argc, argv, 1, 1000);
    rounds = bench_number(argc, argv, 2, 20000);
    fds = calloc((size_t)count, sizeof(*fds));
    set = calloc((size_t)count, sizeof(*set));
    reply = eventfd(0, 0);
    for (long i = 0; i < count; i++) {
        fds[i] = eventfd(0, 0);
        set[i].fd = fds[i];
        set[i].events = POLLIN;
        if (fds[i] < 0) {
            perror("eventfd");
            return 1;
        }
    }
    began = bench_cpu();
    bench_must(pthread_create(&thread, NULL, waker, NULL), "pthread_create");
    for (long i = 0; i < rounds; i++) {
        if (poll(set, (nfds_t)count, -1) != 1) {
            perror("poll");
            return 1;
        }
        for (long j = 0; j < count; j++) {
            if (set[j].revents != 0 && read(set[j].fd, &got, sizeof(got)) == sizeof(got)) {
                break;
            }
        }
        if (write(reply, &one, sizeof(one)) != sizeof(one)) {
            perror("write");
            return 1;
        }
    }
    pthread_join(thread, NULL);
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)rounds);
    return 0;
}
