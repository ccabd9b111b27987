/* A million threads, all blocked at once, all woken and joined: million [cond|sleep|pipe|mixed] [N]
 * [SLEEP-SECONDS]. In `mixed` thread i waits in one of the three ways in turn. Prints seconds, and at
 * the peak OS threads and memory; `early`: sleepers whose time was up before the last thread was made. */
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bench.h"

enum way { COND, SLEEP, PIPE, MIXED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static int gone, ends[2];
static enum way way = MIXED;
static uint64_t sleep_until;
static atomic_long arrived, woken, wrong;

static void wait_cond(void)
{
    pthread_mutex_lock(&lock);
    while (!gone) {
        pthread_cond_wait(&go, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static void wait_sleep(void)
{
    uint64_t now = bench_now(), left = sleep_until > now ? sleep_until - now : 0;
    struct timespec t = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};

    if (nanosleep(&t, NULL) != 0 || bench_now() < sleep_until) {
        atomic_fetch_add(&wrong, 1);
    }
}

static void wait_pipe(void)
{
    char byte;

    if (read(ends[0], &byte, 1) != 1) {
        atomic_fetch_add(&wrong, 1);
    }
}

static void *blocked(void *arg)
{
    enum way mine = way == MIXED ? (enum way)((intptr_t)arg % 3) : way;

    atomic_fetch_add(&arrived, 1);
    if (mine == COND) {
        wait_cond();
    } else if (mine == SLEEP) {
        wait_sleep();
    } else {
        wait_pipe();
    }
    atomic_fetch_add(&woken, 1);
    return arg;
}

static void write_all(long bytes)
{
    static const char zeros[65536];

    while (bytes > 0) {
        ssize_t n = write(ends[1], zeros, bytes < (long)sizeof(zeros) ? (size_t)bytes : sizeof(zeros));

        if (n < 0) {
            bench_must(errno, "write");
        }
        bytes -= n;
    }
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"cond", "sleep", "pipe", "mixed"};
    long count = bench_number(argc, argv, 2, 1000000);
    double nap = argc > 3 ? atof(argv[3]) : 40;
    pthread_t *all = calloc((size_t)count, sizeof(*all));
    uint64_t began = bench_now(), made;
    pthread_attr_t attr;
    long user, tables, threads, early;

    for (int i = 0; argc > 1 && i < 4; i++) {
        if (strcmp(argv[1], names[i]) == 0) {
            way = (enum way)i;
        }
    }
    if (all == NULL || pipe(ends) < 0) {
        perror("million");
        return 1;
    }
    sleep_until = began + (uint64_t)(nap * 1e9);
    bench_attr(&attr, 65536);
    for (long i = 0; i < count; i++) {
        int error = pthread_create(&all[i], &attr, blocked, (void *)(intptr_t)i);

        if (error != 0) {
            fprintf(stderr, "million: thread %ld: %s\n", i, strerror(error));
            return 1;
        }
    }
    while (atomic_load(&arrived) < count) {
        usleep(1000);
    }
    made = bench_now();
    early = atomic_load(&woken);
    user = bench_proc("smaps_rollup", "Pss:");
    tables = bench_proc("status", "VmPTE:");
    threads = bench_proc("status", "Threads:");
    pthread_mutex_lock(&lock);
    gone = 1;
    pthread_cond_broadcast(&go);
    pthread_mutex_unlock(&lock);
    write_all(way == PIPE ? count : way == MIXED ? count / 3 : 0);
    for (long i = 0; i < count; i++) {
        void *result;

        bench_must(pthread_join(all[i], &result), "pthread_join");
        if (result != (void *)(intptr_t)i) {
            atomic_fetch_add(&wrong, 1);
        }
    }
    printf("seconds=%.2f\nmake_seconds=%.2f\nos_threads=%ld\ngib=%.2f\nearly=%ld\nwrong=%ld\n",
           (double)(bench_now() - began) / 1e9, (double)(made - began) / 1e9, threads,
           (double)(user + tables + threads * 16) / 1048576.0, early, atomic_load(&wrong));
    return atomic_load(&wrong) == 0 ? 0 : 1;
}
