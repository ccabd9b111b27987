/* One green thread sleeps in the kernel by a call that is nobody's symbol; others wait. With an
 * argument every thread blocks all signals. Until it is killed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline)) static long raw_nanosleep(struct timespec *ts)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(ts), "S"(0)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_nanosleep, x0 __asm__("x0") = (long)ts,
                  x1 __asm__("x1") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#endif
    return result;
}

__attribute__((noinline)) void foreign_library_wait(void)
{
    struct timespec ts = {60, 0};
    while (raw_nanosleep(&ts)) /* the signal that asks for the dump may end it */
        ;
    __asm__ volatile("" ::: "memory");
}

static void *stuck(void *unused)
{
    (void)unused;
    foreign_library_wait();
    return NULL;
}

static void *polite(void *unused)
{
    (void)unused;
    sleep(60);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t t;
    if (argc > 1) {
        sigset_t all;
        (void)argv;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    }
    pthread_create(&t, NULL, polite, NULL);
    sched_yield();
    puts("ready");
    fflush(stdout);
    pthread_create(&t, NULL, stuck, NULL);
    sleep(60);
    return 0;
}
