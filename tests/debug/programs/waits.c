/* Green threads that wait for one thing each, until stdin ends. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t cond_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_t sleeper;
static int pair[2];
static volatile int stop;

__attribute__((noinline)) static void wait_in_recv(void)
{
    char byte;
    (void)!recv(pair[0], &byte, 1, 0);
}

static void *receiver(void *unused)
{
    (void)unused;
    wait_in_recv();
    return NULL;
}

static void *locker(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&held_lock);
    pthread_mutex_unlock(&held_lock);
    return NULL;
}

static void *waiter(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&cond_lock);
    while (!stop)
        pthread_cond_wait(&never, &cond_lock);
    pthread_mutex_unlock(&cond_lock);
    return NULL;
}

static void *sleeps(void *unused)
{
    struct timespec ts = {100, 0};
    (void)unused;
    nanosleep(&ts, NULL);
    return NULL;
}

static void *joiner(void *unused)
{
    (void)unused;
    pthread_join(sleeper, NULL);
    return NULL;
}

/* Computes without a call, so that it loses its hub. */
__attribute__((noinline)) static void compute(void)
{
    static volatile uint64_t n;
    struct timespec ts;
    while (!stop) {
        for (int i = 0; i < 20000; i++)
            n++;
        clock_gettime(CLOCK_MONOTONIC, &ts);
    }
}

static void *computer(void *unused)
{
    (void)unused;
    compute();
    return NULL;
}

int main(int argc, char **argv)
{
    void *(*const bodies[])(void *) = {receiver, locker, waiter, sleeps, joiner, computer};
    static const char *const names[] = {"receiver", "locker", "waiter", "sleeper", "joiner",
                                        "computer"};
    int count = argc > 1 ? atoi(argv[1]) : 5;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pthread_mutex_lock(&held_lock);
    for (int i = 0; i < count; i++) {
        pthread_t t;
        pthread_create(&t, NULL, bodies[i], NULL);
        pthread_setname_np(t, names[i]);
        if (i == 3)
            sleeper = t;
    }
    usleep(50000);
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    _exit(0);
}
