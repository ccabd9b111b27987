/* One green thread waits, another aborts: at once, or with an argument after two seconds. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fds[2];

__attribute__((noinline)) void waits_for_ever(void)
{
    char byte;
    (void)!read(fds[0], &byte, 1);
    __asm__ volatile("" ::: "memory");
}

static void *waiter(void *unused)
{
    (void)unused;
    waits_for_ever();
    return NULL;
}

__attribute__((noinline)) static void *aborts(void *later)
{
    sleep(later ? 2 : 0);
    abort();
}

int main(int argc, char **argv)
{
    pthread_t a, b;
    (void)argv;
    (void)!pipe(fds);
    pthread_create(&a, NULL, waiter, NULL);
    usleep(20000);
    puts("ready");
    fflush(stdout);
    pthread_create(&b, NULL, aborts, argc > 1 ? &b : NULL);
    pthread_join(b, NULL);
    return 0;
}
