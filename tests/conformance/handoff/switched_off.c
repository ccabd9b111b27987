/* With --handoff 0 a thread that computes keeps its hub until it calls something; what is known to block still lets
 * the others run. */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>

static atomic_int stop, ticks;

static void *tick(void *argument)
{
    while (!atomic_load(&stop)) {
        sleep_ms(1);
        atomic_fetch_add(&ticks, 1);
    }
    return argument;
}

static void *lock_second(void *argument)
{
    int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int error = flock(fd, LOCK_EX);
    close(fd);
    return error ? NULL : argument;
}

int main(void)
{
    pthread_t ticker = start(tick, NULL);
    while (atomic_load(&ticks) < 2) {
        sleep_ms(1);
    }
    int before = atomic_load(&ticks);
    int64_t end = now_ns(CLOCK_MONOTONIC) + 100000000;
    while (now_ns(CLOCK_MONOTONIC) < end) {
    }
    printf("ticks beside a computation: %d\n", atomic_load(&ticks) - before);

    int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(fd, LOCK_EX);
    pthread_t locker = start(lock_second, &stop);
    before = atomic_load(&ticks);
    while (atomic_load(&ticks) < before + 20) {
        sleep_ms(1);
    }
    flock(fd, LOCK_UN);
    printf("flock: %s\n", finish(locker) == &stop ? "taken" : "failed");
    atomic_store(&stop, 1);
    finish(ticker);
    return 0;
}
