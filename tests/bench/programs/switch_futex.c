/* Two threads take turns through one futex word each, by syscall(): processor nanoseconds per turn. */
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static atomic_int word[2];
static long turns;

static void await(int me)
{
    while (atomic_load(&word[me]) == 0) {
        syscall(SYS_futex, &word[me], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    atomic_store(&word[me], 0);
}

static void pass_to(int other)
{
    atomic_store(&word[other], 1);
    syscall(SYS_futex, &word[other], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *player(void *arg)
{
    int me = (int)(intptr_t)arg;

    for (long i = 0; i < turns; i++) {
        await(me);
        pass_to(!me);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    uint64_t began;

    turns = bench_number(argc, argv, 1, 200000);
    bench_must(pthread_create(&other, NULL, player, (void *)1), "pthread_create");
    began = bench_cpu();
    atomic_store(&word[0], 1);
    player((void *)0);
    pthread_join(other, NULL);
    printf("ns=%.1f\n", (double)(bench_cpu() - began) / (double)(2 * turns));
    return 0;
}
