/* Ways to wait, by the first argument. Prints "ready" before. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t lock_a = PTHREAD_MUTEX_INITIALIZER, lock_b = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int pair[2];

__attribute__((noinline)) static void take_b_while_holding_a(void)
{
    pthread_mutex_lock(&lock_a);
    usleep(30000);
    pthread_mutex_lock(&lock_b);
    pthread_mutex_unlock(&lock_b);
    pthread_mutex_unlock(&lock_a);
}

__attribute__((noinline)) static void take_a_while_holding_b(void)
{
    pthread_mutex_lock(&lock_b);
    usleep(30000);
    pthread_mutex_lock(&lock_a);
    pthread_mutex_unlock(&lock_a);
    pthread_mutex_unlock(&lock_b);
}

static void *first(void *unused)
{
    take_b_while_holding_a();
    return unused;
}

static void *second(void *unused)
{
    take_a_while_holding_b();
    return unused;
}

static void *reader(void *unused)
{
    char byte;
    (void)!recv(pair[0], &byte, 1, 0);
    return unused;
}

static void *sleeper(void *unused)
{
    for (;;)
        usleep(10000);
    return unused;
}

static void *waiter(void *unused)
{
    pthread_mutex_lock(&lock_a);
    pthread_cond_wait(&never, &lock_a);
    pthread_mutex_unlock(&lock_a);
    return unused;
}

static void *sem_waiter(void *unused)
{
    sem_wait(&sem);
    return unused;
}

static void *relocker(void *unused)
{
    pthread_rwlock_wrlock(&rwlock);
    pthread_rwlock_rdlock(&rwlock);
    return unused;
}

static void on_term(int sig)
{
    (void)sig;
    sem_post(&sem);
}

/* Two that take the locks in the two orders, but never at the same time. */
static void *orders(void *which) /* NULL: the first */
{
    if (which)
        take_a_while_holding_b();
    else
        take_b_while_holding_a();
    return which;
}

static void start(void *(*body)(void *), const char *name, pthread_t *t)
{
    pthread_create(t, NULL, body, NULL);
    pthread_setname_np(*t, name);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "abba";
    pthread_t a, b, c;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    sem_init(&sem, 0, 0);
    puts("ready");
    fflush(stdout);
    if (strcmp(how, "abba") == 0 || strcmp(how, "abba-busy") == 0) {
        start(first, "first", &a);
        start(second, "second", &b);
        if (how[4])
            start(sleeper, "sleeper", &c);
        pthread_join(a, NULL);
    } else if (strcmp(how, "socket") == 0) {
        start(reader, "reader", &a);
        start(waiter, "waiter", &b);
        pthread_join(b, NULL);
    } else if (strcmp(how, "lost-signal") == 0) {
        start(waiter, "waiter", &a);
        pthread_join(a, NULL);
    } else if (strcmp(how, "handler") == 0) {
        signal(SIGTERM, on_term);
        start(sem_waiter, "sem_waiter", &a);
        pthread_join(a, NULL);
    } else if (strcmp(how, "handler-cond") == 0) {
        signal(SIGTERM, _exit);
        start(waiter, "waiter", &a);
        pthread_join(a, NULL);
    } else if (strcmp(how, "self") == 0) {
        start(sleeper, "sleeper", &c);
        pthread_mutex_lock(&lock_a);
        pthread_mutex_lock(&lock_a);
    } else if (strcmp(how, "rwlock") == 0) {
        start(relocker, "rwlock", &a);
        pthread_join(a, NULL);
    } else if (strcmp(how, "orders") == 0) {
        pthread_create(&a, NULL, orders, NULL);
        pthread_join(a, NULL);
        pthread_create(&b, NULL, orders, pair);
        pthread_join(b, NULL);
    }
    return 0;
}
