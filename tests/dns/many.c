/* Many threads resolve a different name each while another one ticks.
 *
 *     many THREADS SUFFIX [STACK]     resolves n0.SUFFIX, n1.SUFFIX, ...; STACK bytes for each
 * thread
 *
 * Prints "right R wrong W ms M gap G threads T": what they found, until when, the longest time
 * between two ticks of 10 ms in ms, and the most operating-system threads that the ticker saw.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *suffix;
static atomic_int right, wrong;
static atomic_bool over;
static double gap;
static int threads_seen;

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int threads_now(void)
{
    char line[128];
    int count = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &count) == 1)
            break;
    if (file)
        fclose(file);
    return count;
}

static void *tick(void *unused)
{
    double last = now_ms();
    while (!atomic_load(&over)) {
        struct timespec ten = {.tv_nsec = 10000000};
        nanosleep(&ten, NULL);
        double now = now_ms();
        gap = now - last > gap ? now - last : gap;
        last = now;
        int threads = threads_now();
        threads_seen = threads > threads_seen ? threads : threads_seen;
    }
    return unused;
}

static void *resolve(void *arg)
{
    char name[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    snprintf(name, sizeof name, "n%d.%s", (int)(intptr_t)arg, suffix);
    int code = getaddrinfo(name, "80", &hints, &list);
    if (!code && list && list->ai_addr->sa_family == AF_INET &&
        ((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr == inet_addr("10.9.9.9"))
        atomic_fetch_add(&right, 1);
    else
        atomic_fetch_add(&wrong, 1);
    if (!code)
        freeaddrinfo(list);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t ticker, *threads;
    pthread_attr_t attr;
    int count = argc > 2 ? atoi(argv[1]) : 0;
    suffix = argv[2];
    threads = calloc((size_t)count + 1, sizeof *threads);
    pthread_attr_init(&attr);
    if (argc > 3)
        pthread_attr_setstacksize(&attr, (size_t)atol(argv[3]));
    if (!count || pthread_create(&ticker, NULL, tick, NULL))
        return 2;
    double began = now_ms();
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], &attr, resolve, (void *)(intptr_t)i))
            return 3;
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    double took = now_ms() - began;
    atomic_store(&over, true);
    pthread_join(ticker, NULL);
    printf("right %d wrong %d ms %.0f gap %.0f threads %d\n", right, wrong, took, gap,
           threads_seen);
    return wrong ? 1 : 0;
}
