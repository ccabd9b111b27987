/* many N [churn]: N green threads, all asleep; with "churn" main makes and joins others without
 * end. Each line on stdin is answered by the longest time that main's loop, of 1 ms sleeps without
 * "churn", was late since the last, in microseconds. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *body(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;)
        pthread_cond_wait(&never, &lock);
    return NULL;
}

static void *nothing(void *unused)
{
    return unused;
}

/* One turn of main's loop. */
static void turn(int churn, const pthread_attr_t *attr)
{
    pthread_t t;
    if (!churn)
        usleep(1000);
    else if (pthread_create(&t, attr, nothing, NULL) == 0)
        pthread_join(t, NULL);
}

static long now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 10;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 32 * 1024);
    for (int i = 0; i < count; i++) {
        pthread_t t;
        if (pthread_create(&t, &attr, body, NULL)) {
            perror("pthread_create");
            return 1;
        }
    }
    usleep(1000);
    puts("ready");
    fflush(stdout);
    long worst = 0;
    for (;;) {
        struct pollfd p = {.fd = 0, .events = POLLIN};
        char line[64];
        long before = now_us();
        turn(argc > 2, &attr);
        long late = now_us() - before - (argc > 2 ? 0 : 1000);
        worst = late > worst ? late : worst;
        if (poll(&p, 1, 0) > 0) {
            ssize_t n = read(0, line, sizeof line);
            if (n <= 0)
                _exit(0);
            printf("%ld\n", worst);
            fflush(stdout);
            worst = 0;
        }
    }
}
