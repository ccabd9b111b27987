/* What a thread costs that only waits: idle STACK-KIB [N]. KiB per thread of user memory (PSS), page
 * tables, kernel stacks (16 KiB to an OS thread), and the kernel's unreclaimable slab (system-wide, so
 * only as good as the machine is quiet). */
#include <unistd.h>

#include "bench.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER, arrived = PTHREAD_COND_INITIALIZER;
static long waiting;
static int gone;

static void *waiter(void *arg)
{
    long all = (long)(intptr_t)arg;

    pthread_mutex_lock(&lock);
    if (++waiting == all) {
        pthread_cond_signal(&arrived);
    }
    while (!gone) {
        pthread_cond_wait(&go, &lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

struct cost {
    double user, tables, kernel, slab;
};

static struct cost measure(void)
{
    struct cost c = {.user = (double)bench_proc("smaps_rollup", "Pss:"),
                     .tables = (double)bench_proc("status", "VmPTE:"),
                     .kernel = (double)bench_proc("status", "Threads:") * 16,
                     .slab = (double)bench_proc("../meminfo", "SUnreclaim:")};

    return c;
}

int main(int argc, char **argv)
{
    size_t stack = (size_t)bench_number(argc, argv, 1, 64) * 1024;
    long count = bench_number(argc, argv, 2, 4000);
    pthread_t *all = calloc((size_t)count, sizeof(*all));
    struct cost before, after;
    pthread_attr_t attr;
    double n = (double)count;

    memset(all, 1, (size_t)count * sizeof(*all)); /* present before the measurement */
    bench_attr(&attr, stack);
    before = measure();
    for (long i = 0; i < count; i++) {
        bench_must(pthread_create(&all[i], &attr, waiter, (void *)(intptr_t)count), "pthread_create");
    }
    pthread_mutex_lock(&lock);
    while (waiting < count) {
        pthread_cond_wait(&arrived, &lock);
    }
    pthread_mutex_unlock(&lock);
    usleep(100000);
    after = measure();
    printf("user_kb=%.2f\ntables_kb=%.2f\nkernel_kb=%.2f\nslab_kb=%.2f\n", (after.user - before.user) / n,
           (after.tables - before.tables) / n, (after.kernel - before.kernel) / n,
           (after.slab - before.slab) / n);
    printf("kb=%.2f\n", (after.user - before.user + after.tables - before.tables + after.kernel -
                         before.kernel) / n);
    pthread_mutex_lock(&lock);
    gone = 1;
    pthread_cond_broadcast(&go);
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < count; i++) {
        pthread_join(all[i], NULL);
    }
    return 0;
}
