/* Four threads that compute for 3 ms again and again, until stdin ends. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static long now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void *grabber(void *unused)
{
    (void)unused;
    for (;;) {
        for (long end = now_us() + 3000; now_us() < end;)
            ;
        usleep(100);
    }
    return NULL;
}

int main(void)
{
    char byte;
    pthread_t t;
    for (int i = 0; i < 4; i++)
        pthread_create(&t, NULL, grabber, NULL);
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
