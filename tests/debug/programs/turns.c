/* turns [N]: two threads that take N turns each by a condition, and one that sleeps five times. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn, turns = 200;

static void *player(void *me)
{
    for (int i = 0; i < turns; i++) {
        pthread_mutex_lock(&lock);
        while ((turn & 1) != (me != NULL))
            pthread_cond_wait(&turned, &lock);
        turn++;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *sleeper(void *unused)
{
    for (int i = 0; i < 5; i++)
        usleep(2000);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t t[3];
    if (argc > 1)
        turns = atoi(argv[1]);
    puts("ready");
    fflush(stdout);
    pthread_create(&t[0], NULL, player, NULL);
    pthread_setname_np(t[0], "first");
    pthread_create(&t[1], NULL, player, &turn);
    pthread_setname_np(t[1], "second");
    pthread_create(&t[2], NULL, sleeper, NULL);
    pthread_setname_np(t[2], "sleeper");
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    return 0;
}
