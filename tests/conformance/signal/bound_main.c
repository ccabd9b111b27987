/* A signal that only a thread with an OS thread of its own lets in comes to it, at once and without
 * work. The wait for any child moves the main thread off the OS thread that the kernel asks first. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIGNALS = 20, PATIENCE = 100, CPU_MS = 400 };

static volatile sig_atomic_t came;

static void on_signal(int sig)
{
    (void)sig;
    came++;
}

static void *wait_for_ever(void *arg)
{
    for (;;)
        poll(NULL, 0, -1);
    return arg;
}

static void child_ends_after(long ns, int sig)
{
    if (fork() == 0) {
        nanosleep(&(struct timespec){0, ns}, NULL);
        if (sig)
            kill(getppid(), sig);
        _exit(0);
    }
}

int main(void)
{
    pthread_t worker;
    sigset_t all, before;
    int count = 0;
    signal(SIGUSR1, on_signal);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&worker, NULL, wait_for_ever, NULL) != 0)
        return 1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    child_ends_after(30000000, 0);
    wait(NULL);
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); /* the kernel keeps that for each thread */
    for (int i = 0; i < SIGNALS; i++) {
        came = 0;
        child_ends_after(20000000, SIGUSR1);
        for (int tries = 0; !came && tries < PATIENCE; tries++)
            poll(NULL, 0, 10);
        count += came == 1;
        wait(NULL);
    }
    printf("%d of %d came, %s\n", count, SIGNALS,
           clock() / (CLOCKS_PER_SEC / 1000) < CPU_MS ? "idle meanwhile" : "busy meanwhile");
    return 0;
}
