#include "held.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AT_ONCE = 300, REGIONS_OVER = 8 };

static long entries(const char *path)
{
    long n = 0;
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static long descriptors_open(void)
{
    return entries("/proc/self/fd");
}

static long os_threads(void)
{
    return entries("/proc/self/task");
}

static long address_space_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%ld", &pages) != 1)
        fail("statm", errno, 0);
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* More threads at once than the workers ever have: every region that is free serves one of them. */
static pthread_barrier_t all_there;

static void *be_there(void *arg)
{
    pthread_barrier_wait(&all_there);
    return arg;
}

static void all_at_once(void)
{
    static pthread_t threads[AT_ONCE];
    pthread_barrier_init(&all_there, NULL, AT_ONCE + 1);
    for (int i = 0; i < AT_ONCE; i++)
        if (pthread_create(&threads[i], NULL, be_there, NULL)) {
            fail("pthread_create of many", errno, 0);
            exit(1);
        }
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < AT_ONCE; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_there);
}

static long hubs_kept(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN);
}

long held_threads_kept(void)
{
    return 2 + hubs_kept();
}

struct held held_now(long most)
{
    all_at_once();
    long threads = os_threads(), same = 0;
    for (int i = 0; i < 150 && threads > most && (most || same < 30); i++) {
        usleep(100000);
        long now = os_threads();
        same = now == threads ? same + 1 : 0;
        threads = now;
    }
    return (struct held){descriptors_open(), threads, address_space_kib()};
}

void held_compare(const struct held *before, const struct held *after)
{
    pthread_attr_t attr;
    size_t stack;
    pthread_attr_init(&attr);
    pthread_attr_getstacksize(&attr, &stack);
    if (after->descriptors > before->descriptors + 2 * hubs_kept())
        fail("descriptors", after->descriptors, before->descriptors);
    if (after->threads > before->threads + held_threads_kept())
        fail("OS threads", after->threads, before->threads);
    if (after->kib > before->kib + REGIONS_OVER * (long)(stack / 1024))
        fail("KiB of address space", after->kib, before->kib);
}
