/* How long one thread that holds up its OS thread holds up the others, natively nothing to speak of:
 *   handoff asleep|computing N   median and 99th percentile, us, from a thread that posts a semaphore
 *                                and blocks in an inline system call, or computes, until the other runs
 *   handoff together N           N threads block in the kernel at the same moment: ms until another runs
 *   handoff cpu N                N threads that only compute: ms on the clock for a fixed amount of work
 */
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static sem_t ready, answered;
static atomic_ullong began, took;
static atomic_int flag, blocked;
static int fds[2];

/* Not through libc, as a program that inlines its system calls. */
static long inline_read(int fd, void *data, size_t n)
{
#if defined(__x86_64__)
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_read), "D"((long)fd), "S"(data), "d"(n)
                     : "rcx", "r11", "memory");
    return result;
#else
    return read(fd, data, n);
#endif
}

static void *other(void *arg)
{
    for (;;) {
        sem_wait(&ready);
        took = bench_now() - began;
        if (arg && write(fds[1], "x", 1) != 1) {
            return NULL;
        }
        atomic_store(&flag, 1);
        sem_post(&answered);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void latency(int asleep, long n)
{
    uint64_t *all = calloc((size_t)n, sizeof(*all));
    pthread_t t;
    char byte;

    bench_must(pthread_create(&t, NULL, other, asleep ? &ready : NULL), "pthread_create");
    usleep(20000);
    for (long i = 0; i < n; i++) {
        usleep(3000);
        atomic_store(&flag, 0);
        began = bench_now();
        sem_post(&ready);
        if (asleep) {
            inline_read(fds[0], &byte, 1);
        } else {
            while (!atomic_load_explicit(&flag, memory_order_relaxed)) {
            }
        }
        sem_wait(&answered);
        all[i] = took;
    }
    qsort(all, (size_t)n, sizeof(*all), by_size);
    printf("us=%.1f\np99_us=%.1f\n", (double)all[n / 2] / 1e3, (double)all[(n * 99) / 100] / 1e3);
    free(all);
}

static pthread_barrier_t barrier;

static void *block(void *arg)
{
    char byte;

    pthread_barrier_wait(&barrier);
    atomic_fetch_add(&blocked, 1);
    inline_read(fds[0], &byte, 1);
    return arg;
}

static void together(long n)
{
    pthread_t *threads = calloc((size_t)n, sizeof(*threads));
    char byte = 0;
    uint64_t start;

    pthread_barrier_init(&barrier, NULL, (unsigned)n + 1);
    for (long i = 0; i < n; i++) {
        bench_must(pthread_create(&threads[i], NULL, block, NULL), "pthread_create");
    }
    usleep(20000);
    start = bench_now();
    pthread_barrier_wait(&barrier);
    while (atomic_load(&blocked) < n) {
        usleep(100);
    }
    printf("ms=%.2f\n", (double)(bench_now() - start) / 1e6);
    for (long i = 0; i < n; i++) {
        if (write(fds[1], &byte, 1) != 1) {
            exit(1);
        }
    }
    for (long i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    free(threads);
}

static void *compute(void *arg)
{
    volatile uint64_t x = 1;

    for (long i = 0; i < 60000000; i++) {
        x = x * 6364136223846793005u + 1;
    }
    return arg;
}

static void cpu(long n)
{
    pthread_t *threads = calloc((size_t)n, sizeof(*threads));
    uint64_t start = bench_now();

    for (long i = 0; i < n; i++) {
        bench_must(pthread_create(&threads[i], NULL, compute, NULL), "pthread_create");
    }
    for (long i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("ms=%.1f\n", (double)(bench_now() - start) / 1e6);
    free(threads);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    long n = bench_number(argc, argv, 2, 50);

    sem_init(&ready, 0, 0);
    sem_init(&answered, 0, 0);
    if (n < 1 || pipe(fds) != 0) {
        return 2;
    }
    if (strcmp(what, "asleep") == 0 || strcmp(what, "computing") == 0) {
        latency(what[0] == 'a', n);
    } else if (strcmp(what, "together") == 0) {
        together(n);
    } else if (strcmp(what, "cpu") == 0) {
        cpu(n);
    } else {
        return 2;
    }
    return 0;
}
