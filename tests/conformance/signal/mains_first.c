/* A signal from another process ends the main thread's poll(), whichever thread runs as it comes. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIGNALS = 40, WORKERS = 3, MOST_MS = 1000 };

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    (void)sig;
}

/* Busy, and in and out of the calls that switch. */
static void *work(void *arg)
{
    unsigned x = 1;
    while (!stop) {
        for (int i = 0; i < 2000; i++)
            x = x * 1103515245 + 12345;
        sched_yield();
    }
    return x ? arg : NULL;
}

static void send_when_asked(int asked)
{
    char byte;
    while (read(asked, &byte, 1) == 1) {
        nanosleep(&(struct timespec){0, 3000000}, NULL); /* until the parent polls */
        kill(getppid(), SIGUSR1);
    }
    _exit(0);
}

int main(void)
{
    pthread_t worker[WORKERS];
    int ask[2], ended = 0;
    signal(SIGUSR1, on_signal);
    if (pipe(ask) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        close(ask[1]);
        send_when_asked(ask[0]);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&worker[i], NULL, work, NULL);
    for (int i = 0; i < SIGNALS; i++) {
        if (write(ask[1], "", 1) == 1 && poll(NULL, 0, MOST_MS) == -1 && errno == EINTR)
            ended++;
    }
    stop = 1;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(worker[i], NULL);
    close(ask[1]);
    waitpid(child, NULL, 0);
    /* A busy machine may let a signal come before the poll; the threads that are busy would take all. */
    printf("poll ended: %s\n", ended >= SIGNALS / 2 ? "by the signals" : "too seldom");
    if (ended < SIGNALS / 2)
        printf("FAIL: %d of %d\n", ended, SIGNALS);
    return 0;
}
