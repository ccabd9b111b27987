/*
 * Five thousand threads at once, twice, some with thread-local storage of a library that was loaded late: a
 * while after their end the process weighs what it weighed before them, and who comes next on their memory
 * finds everything as new. Natively libc keeps some of the stacks, so there is nothing to compare with.
 */
#include "check.h"
#include "kit/library.h"

#include <malloc.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/syscall.h>

enum { THREADS = 5000, WITH_LIBRARY = 500, ROUNDS = 2, PATIENCE_MS = 15000 };

static pthread_t threads[THREADS];
static pthread_attr_t attr;
static pthread_barrier_t all_there;
static pthread_key_t keys[40]; /* more than libc keeps in its control block */
static int detached_left;
static __thread int zero, five = 5;
static int (*large_count)(int), (*fast_add)(int);

/* KiB of user memory and of page tables. */
static long weight(void)
{
    char line[256];
    long sum = 0;
    malloc_trim(0); /* what lies between blocks in use is not the question here */
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "RssAnon:", 8) == 0 || strncmp(line, "VmPTE:", 6) == 0) {
            sum += strtol(strchr(line, ':') + 1, NULL, 10);
        }
    }
    fclose(status);
    return sum;
}

static void *live(void *argument)
{
    int me = (int)(intptr_t)argument;
    EXPECT_EQ(errno, 0);
    EXPECT_EQ(zero, 0);
    EXPECT_EQ(five, 5);
    EXPECT(pthread_getspecific(keys[39]) == NULL);
    zero = five = errno = me;
    pthread_setspecific(keys[39], &zero);
    EXPECT(strstr(strerror(100000 + me), "Unknown") != NULL);
    EXPECT(strstr(strsignal(1000 + me), "Unknown") != NULL);
    if (large_count && me < WITH_LIBRARY) {
        EXPECT_EQ(large_count(1), 1);
        EXPECT_EQ(fast_add(0), 5);
        fast_add(1);
    }
    pthread_barrier_wait(&all_there);
    EXPECT_EQ(zero, me);
    EXPECT_EQ(five, me);
    EXPECT(pthread_getspecific(keys[39]) == &zero);
    if (me % 2) {
        pthread_detach(pthread_self());
        atomic_add(&detached_left, -1);
    }
    return argument;
}

static void *nothing(void *argument)
{
    return argument;
}

static void crowd(size_t stack)
{
    pthread_attr_setstacksize(&attr, stack);
    atomic_add(&detached_left, THREADS / 2);
    for (long i = 0; i < THREADS; i++) {
        EXPECT_EQ(pthread_create(&threads[i], &attr, live, (void *)i), 0);
    }
    pthread_barrier_wait(&all_there);
    for (long i = 0; i < THREADS; i += 2) {
        void *value = NULL;
        EXPECT_EQ(pthread_join(threads[i], &value), 0);
        EXPECT_EQ((intptr_t)value, i);
    }
    while (atomic_get(&detached_left)) {
        sleep_ms(1);
    }
}

static void crowds_leave_nothing(size_t stack)
{
    pthread_attr_setstacksize(&attr, stack);
    for (int i = 0; i < 100; i++) { /* the runtime, and what it keeps ready */
        EXPECT_EQ(pthread_create(&threads[i], &attr, nothing, NULL), 0);
    }
    for (int i = 0; i < 100; i++) {
        pthread_join(threads[i], NULL);
    }
    long before = weight(), after = 0;
    for (int round = 0; round < ROUNDS; round++) {
        crowd(stack);
        int waited = 0;
        while ((after = weight()) > before + 2048 && waited < PATIENCE_MS) {
            sleep_ms(50);
            waited += 50;
        }
        if (after > before + 2048) {
            printf("FAIL %ld KiB stay of %d threads\n", after - before, THREADS);
        }
    }
}

static void small_stacks(void)
{
    crowds_leave_nothing(64 << 10);
}

static void large_stacks(void)
{
    crowds_leave_nothing(8 << 20);
}

/* ---- While others have nothing to do, and the last one does not wait as those do ---- */

enum { FEW = 200, TOUCHED = 256 << 10, MOST_KIB = 25 << 10 };

static void *touch(void *argument)
{
    char bytes[TOUCHED];
    memset(bytes, 1, sizeof bytes);
    __asm__ volatile("" : : "r"(bytes) : "memory");
    pthread_barrier_wait(&all_there);
    return argument;
}

static void few_touch(void)
{
    pthread_barrier_init(&all_there, NULL, FEW + 1);
    for (int i = 0; i < FEW; i++) {
        threads[i] = start(touch, NULL);
    }
    pthread_barrier_wait(&all_there);
    sleep_ms(20);
}

static void few_join(void)
{
    for (int i = 0; i < FEW; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void compute_for_ms(int ms)
{
    int64_t began = now_ns(CLOCK_MONOTONIC);
    while (ms_since(began) < ms) {
    }
}

/* No wrapper sees it. */
static noreturn void block_unseen(void)
{
    few_touch();
    few_join();
    sleep_ms(1);
#if defined(__x86_64__)
    long result = SYS_pause;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
#else
    pause();
#endif
    _exit(3);
}

static noreturn void compute_and_wait(void)
{
    few_touch();
    compute_for_ms(100);
    few_join();
    pause();
    _exit(3);
}

static long weight_of(pid_t pid)
{
    char path[64];
    long pages = 0, shared = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *statm = fopen(path, "r");
    EXPECT_EQ(fscanf(statm, "%*d %ld %ld", &pages, &shared), 2);
    fclose(statm);
    return (pages - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

static void child_weighs_little(void (*become)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        become();
    }
    sleep_ms(500);
    long after = 0;
    for (int waited = 0; (after = weight_of(pid)) > MOST_KIB && waited < PATIENCE_MS; waited += 50) {
        sleep_ms(50);
    }
    if (after > MOST_KIB) {
        printf("FAIL %ld KiB stay of %d threads\n", after, FEW);
    }
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

static void while_a_call_blocks_unseen(void)
{
    child_weighs_little(block_unseen);
}

static void after_one_that_computed(void)
{
    child_weighs_little(compute_and_wait);
}

/* Undefined, but nothing that may hurt others. */
static void ids_of_the_past(void)
{
    for (int i = 0; i < THREADS; i += 2) {
        EXPECT_EQ(pthread_kill(threads[i], 0), 0);
        EXPECT_EQ(pthread_cancel(threads[i]), ESRCH);
        EXPECT_EQ(pthread_detach(threads[i]), ESRCH);
        EXPECT_EQ(pthread_join(threads[i], NULL), ESRCH);
    }
}

/* Its static part is to be initialised in memory that was given back, too, its dynamic part freed. */
static void with_a_library(void)
{
    *(void **)&large_count = dlsym(library_open("_dynamic.so"), "large_count");
    *(void **)&fast_add = dlsym(library_open(".so"), "fast_add");
    EXPECT(large_count != NULL && fast_add != NULL);
    crowds_leave_nothing(64 << 10);
}

static const struct check checks[] = {
    CHECK(while_a_call_blocks_unseen),
    CHECK(after_one_that_computed),
    CHECK(small_stacks),
    CHECK(ids_of_the_past),
    CHECK(large_stacks),
    CHECK(with_a_library),
};

int main(int argc, char **argv)
{
    mallopt(M_ARENA_MAX, 1); /* of the others malloc_trim() leaves the top */
    pthread_attr_init(&attr);
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        pthread_key_create(&keys[i], NULL);
    }
    return CHECKS_RUN(checks, argc, argv);
}
