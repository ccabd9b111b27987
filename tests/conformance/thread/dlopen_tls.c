/* Libraries with thread-local storage that are loaded while threads run: every thread gets its own, initialised. */
#include "check.h"
#include "kit/library.h"

#include <sched.h>

enum { THREADS = 20 };

static int (*fast_add)(int), (*large_count)(int);
static int *(*fast_address)(void);
static pthread_barrier_t barrier;
static int *addresses[THREADS];

static void use_library(int me)
{
    EXPECT_EQ(fast_add(0), 5);
    EXPECT_EQ(large_count(100 + me), 1);
    EXPECT_EQ(fast_add(me), 5 + me);
    for (int round = 0; round < 10; round++) {
        if (round % 5 == 4) {
            sleep_ms(1);
        } else {
            sched_yield();
        }
        EXPECT_EQ(fast_add(0), 5 + me);
        EXPECT_EQ(large_count(100 + me), 2);
    }
}

static void *wait_then_use(void *argument)
{
    int me = (int)(intptr_t)argument;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    use_library(me);
    addresses[me] = fast_address();
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void *use_at_once(void *argument)
{
    use_library((int)(intptr_t)argument);
    return NULL;
}

static void libraries_open(void)
{
    void *library = library_open(".so");
    fast_add = (int (*)(int))dlsym(library, "fast_add");
    fast_address = (int *(*)(void))dlsym(library, "fast_address");
    large_count = (int (*)(int))dlsym(library_open("_dynamic.so"), "large_count");
}

static void threads_older_than_the_library(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(wait_then_use, (void *)i);
    }
    pthread_barrier_wait(&barrier);
    libraries_open();
    pthread_barrier_wait(&barrier);
    use_library(1000);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
        EXPECT(addresses[i] != fast_address());
        for (int other = 0; other < i; other++) {
            EXPECT(addresses[i] != addresses[other]);
        }
    }
}

static void threads_younger_than_the_library(void)
{
    for (int round = 0; round < 3; round++) {
        pthread_t threads[THREADS];
        for (intptr_t i = 0; i < THREADS; i++) {
            threads[i] = start(use_at_once, (void *)i);
        }
        for (int i = 0; i < THREADS; i++) {
            finish(threads[i]);
        }
    }
}

static void *ask_dlerror(void *argument)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "no-such-library-%d.so", (int)(intptr_t)argument);
    EXPECT(dlerror() == NULL);
    for (int i = 0; i < 5; i++) {
        EXPECT(dlopen(wanted, RTLD_NOW) == NULL);
        sched_yield();
        const char *text = dlerror();
        EXPECT(text != NULL && strncmp(text, wanted, strlen(wanted)) == 0);
        EXPECT(dlerror() == NULL);
    }
    return NULL;
}

static void dlerror_is_per_thread(void)
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(ask_dlerror, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
}

static void *open_in_thread(void *argument)
{
    void *library = dlopen("libm.so.6", RTLD_NOW);
    EXPECT(library != NULL);
    double (*square_root)(double) = (double (*)(double))dlsym(library, "sqrt");
    EXPECT(square_root && square_root(49.0) == 7.0);
    EXPECT_EQ(dlclose(library), 0);
    return argument;
}

static void threads_may_open_libraries(void)
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(open_in_thread, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        finish(threads[i]);
    }
}

static const struct check checks[] = {
    CHECK(threads_older_than_the_library),
    CHECK(threads_younger_than_the_library),
    CHECK(dlerror_is_per_thread),
    CHECK(threads_may_open_libraries),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
