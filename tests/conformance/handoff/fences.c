/*
 * Where a sandbox refuses membarrier(2), what a thread and the monitor tell each other still arrives in order:
 * threads that enter the runtime all the time while others are about to lose their hub.
 */
#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* For this process and its threads from here on; made before the first thread. */
static void refuse_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EXPECT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
    EXPECT_ERRNO(syscall(SYS_membarrier, 0, 0, 0), EPERM);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long a, b;
static atomic_int stop;
static atomic_long done;

/* Enters and leaves as often as it can, with stretches of computing between. */
static void *enter_often(void *argument)
{
    unsigned long x = (unsigned long)(uintptr_t)argument * 2654435761u + 1;
    while (!atomic_load(&stop)) {
        x = x * 6364136223846793005UL + 1442695040888963407UL;
        int64_t until = now_ns(CLOCK_MONOTONIC) + (int64_t)(x >> 43) % 3000000;
        if ((x >> 40) % 8 == 0) {
            while (now_ns(CLOCK_MONOTONIC) < until && !atomic_load(&stop)) {
            }
        }
        for (int i = 0; i < 50; i++) {
            pthread_mutex_lock(&lock);
            a++;
            if (i % 10 == 0) {
                sched_yield();
            }
            b++;
            EXPECT_EQ(a, b);
            pthread_mutex_unlock(&lock);
            atomic_fetch_add(&done, 1);
        }
    }
    return argument;
}

static void spin_and_enter(void)
{
    pthread_t threads[6];
    refuse_membarrier();
    for (long i = 0; i < 6; i++) {
        threads[i] = start(enter_often, (void *)(i + 1));
    }
    sleep_ms(1500);
    atomic_store(&stop, 1);
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(a, atomic_load(&done));
}

int main(int argc, char **argv)
{
    static const struct check checks[] = { CHECK(spin_and_enter) };
    return CHECKS_RUN(checks, argc, argv);
}
