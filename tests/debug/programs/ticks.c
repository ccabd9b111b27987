/* Sleeps for 2 ms again and again, in a thread, until stdin ends. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *ticker(void *unused)
{
    for (;;)
        usleep(2000);
    return unused;
}

int main(void)
{
    pthread_t t;
    char byte;
    pthread_create(&t, NULL, ticker, NULL);
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
