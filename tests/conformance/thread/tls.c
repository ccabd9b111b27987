/* What belongs to a thread stays its own over every switch: __thread, errno, libc's buffers, locale, resolver state. */
#include "check.h"

#include <ctype.h>
#include <locale.h>
#include <netdb.h>
#include <resolv.h>
#include <sched.h>
#include <semaphore.h>

enum { THREADS = 40 };

static __thread int initialised = 42;
static __thread char zeroed[5000];
static __thread struct aligned {
    int value;
} __attribute__((aligned(64))) aligned = { 7 };
__thread int general_dynamic = 11;

static void each_thread(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = start(function, (void *)i);
    }
    for (intptr_t i = 0; i < THREADS; i++) {
        EXPECT(finish(threads[i]) == (void *)i);
    }
}

static void switch_away(int round)
{
    if (round % 8 == 7) {
        sleep_ms(1);
    } else {
        sched_yield();
    }
}

static void *use_variables(void *argument)
{
    int me = (int)(intptr_t)argument;
    EXPECT_EQ(initialised, 42);
    EXPECT_EQ(general_dynamic, 11);
    EXPECT_EQ(aligned.value, 7);
    EXPECT_EQ((uintptr_t)&aligned % 64, 0);
    for (size_t i = 0; i < sizeof zeroed; i++) {
        EXPECT_EQ(zeroed[i], 0);
    }
    for (int round = 0; round < 24; round++) {
        initialised = me * 100 + round;
        general_dynamic = -initialised;
        aligned.value = initialised + 1;
        memset(zeroed, me, sizeof zeroed);
        switch_away(round);
        EXPECT_EQ(initialised, me * 100 + round);
        EXPECT_EQ(general_dynamic, -(me * 100 + round));
        EXPECT_EQ(aligned.value, me * 100 + round + 1);
        EXPECT_EQ(zeroed[0], me);
        EXPECT_EQ(zeroed[sizeof zeroed - 1], me);
    }
    return argument;
}

static void thread_variables_start_fresh_and_stay(void)
{
    initialised = 1;
    aligned.value = 2;
    /* Twice: the second set of threads may get the memory of the first. */
    each_thread(use_variables);
    each_thread(use_variables);
    EXPECT_EQ(initialised, 1);
    EXPECT_EQ(aligned.value, 2);
    initialised = 42;
    aligned.value = 7;
}

static void *use_errno(void *argument)
{
    int me = (int)(intptr_t)argument;
    EXPECT_EQ(errno, 0);
    for (int round = 0; round < 24; round++) {
        errno = me + 1;
        switch_away(round);
        EXPECT_EQ(errno, me + 1);
    }
    return argument;
}

static void errno_is_per_thread(void)
{
    errno = 4;
    each_thread(use_errno);
    each_thread(use_errno);
    EXPECT_EQ(errno, 4);
}

static void *compare_errno_address(void *argument)
{
    return (void *)(intptr_t)(&errno != argument);
}

static void errno_has_an_address_of_its_own(void)
{
    EXPECT_EQ((intptr_t)finish(start(compare_errno_address, &errno)), 1);
}

static void *use_strerror(void *argument)
{
    char expected[64];
    int number = 5000 + (int)(intptr_t)argument;
    snprintf(expected, sizeof expected, "Unknown error %d", number);
    for (int round = 0; round < 10; round++) {
        const char *text = strerror(number);
        switch_away(round);
        EXPECT(strcmp(text, expected) == 0);
        snprintf(expected, sizeof expected, "Unknown signal %d", number);
        text = strsignal(number);
        switch_away(round);
        EXPECT(strcmp(text, expected) == 0);
        snprintf(expected, sizeof expected, "Unknown error %d", number);
    }
    return argument;
}

static void strerror_and_strsignal_buffers_are_per_thread(void)
{
    each_thread(use_strerror);
    each_thread(use_strerror);
}

static void *use_resolver_state(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int round = 0; round < 10; round++) {
        h_errno = me + 1;
        _res.retrans = me + 2;
        switch_away(round);
        EXPECT_EQ(h_errno, me + 1);
        EXPECT_EQ(_res.retrans, me + 2);
    }
    return argument;
}

static void h_errno_and_res_are_per_thread(void)
{
    h_errno = 3;
    each_thread(use_resolver_state);
    EXPECT_EQ(h_errno, 3);
}

static void *use_locale(void *argument)
{
    EXPECT(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    EXPECT_EQ(isalpha('a') != 0, 1);
    locale_t mine = newlocale(LC_ALL_MASK, (intptr_t)argument % 2 ? "C.UTF-8" : "C", (locale_t)0);
    if (mine == (locale_t)0) {
        return argument;
    }
    EXPECT(uselocale(mine) == LC_GLOBAL_LOCALE);
    for (int round = 0; round < 10; round++) {
        switch_away(round);
        EXPECT(uselocale((locale_t)0) == mine);
        EXPECT_EQ(MB_CUR_MAX, (intptr_t)argument % 2 ? 6 : 1);
    }
    if ((intptr_t)argument % 4 < 2) {
        EXPECT(uselocale(LC_GLOBAL_LOCALE) == mine);
        freelocale(mine);
    }
    return argument;
}

static void locale_is_per_thread(void)
{
    each_thread(use_locale);
    each_thread(use_locale);
    EXPECT(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
}

static void *use_formats(void *argument)
{
    char text[64], expected[64];
    double value = (double)(intptr_t)argument + 0.25;
    snprintf(expected, sizeof expected, "%d.250000", (int)(intptr_t)argument);
    for (int round = 0; round < 10; round++) {
        snprintf(text, sizeof text, "%f", value);
        switch_away(round);
        EXPECT(strcmp(text, expected) == 0);
        EXPECT(strtod(text, NULL) == value);
    }
    EXPECT_EQ(toupper('q'), 'Q');
    return argument;
}

static void floating_point_and_ctype_work_everywhere(void)
{
    each_thread(use_formats);
}

static void *use_rounding(void *argument)
{
    /* The control words of both floating-point units belong to a thread. */
    unsigned mxcsr = 0x1f80 | (((unsigned)(intptr_t)argument & 3) << 13);
    unsigned short x87 = (unsigned short)(0x37f | (((unsigned)(intptr_t)argument & 3) << 10));
    unsigned start_mxcsr;
    unsigned short start_x87;
    __asm__ volatile("stmxcsr %0" : "=m"(start_mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(start_x87));
    EXPECT_EQ(start_mxcsr & 0x6000, 0);
    EXPECT_EQ(start_x87 & 0xc00, 0);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    __asm__ volatile("fldcw %0" : : "m"(x87));
    for (int round = 0; round < 10; round++) {
        unsigned now_mxcsr;
        unsigned short now_x87;
        switch_away(round);
        __asm__ volatile("stmxcsr %0" : "=m"(now_mxcsr));
        __asm__ volatile("fnstcw %0" : "=m"(now_x87));
        EXPECT_EQ(now_mxcsr & 0x6000, mxcsr & 0x6000);
        EXPECT_EQ(now_x87, x87);
    }
    return argument;
}

static void rounding_modes_are_per_thread(void)
{
#ifdef __x86_64__
    each_thread(use_rounding);
#endif
}

static void *registers_survive(void *argument)
{
    intptr_t a = (intptr_t)argument, b = a * 3, c = a ^ 0x55, d = a + 17, e = ~a;
    double x = (double)a, y = x * 1.5, z = y + x;
    for (int round = 0; round < 50; round++) {
        switch_away(round);
        a += 1, b += a, c ^= b, d += c & 3, e -= d;
        x += 1.0, y += x, z -= y;
    }
    intptr_t a2 = (intptr_t)argument, b2 = a2 * 3, c2 = a2 ^ 0x55, d2 = a2 + 17, e2 = ~a2;
    double x2 = (double)a2, y2 = x2 * 1.5, z2 = y2 + x2;
    for (int round = 0; round < 50; round++) {
        a2 += 1, b2 += a2, c2 ^= b2, d2 += c2 & 3, e2 -= d2;
        x2 += 1.0, y2 += x2, z2 -= y2;
    }
    EXPECT(a == a2 && b == b2 && c == c2 && d == d2 && e == e2);
    EXPECT(x == x2 && y == y2 && z == z2);
    return argument;
}

static void locals_and_registers_survive(void)
{
    each_thread(registers_survive);
}

static int *remembered[THREADS];

static void *remember_address(void *argument)
{
    static pthread_barrier_t *barrier;
    barrier = argument;
    remembered[0] = &initialised;
    initialised = 77;
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    EXPECT_EQ(initialised, 78);
    return argument;
}

static void another_thread_can_reach_a_thread_variable(void)
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t thread = start(remember_address, &barrier);
    pthread_barrier_wait(&barrier);
    EXPECT_EQ(*remembered[0], 77);
    *remembered[0] = 78;
    EXPECT_EQ(initialised, 42);
    pthread_barrier_wait(&barrier);
    finish(thread);
}

static const struct check checks[] = {
    CHECK(thread_variables_start_fresh_and_stay),
    CHECK(errno_is_per_thread),
    CHECK(errno_has_an_address_of_its_own),
    CHECK(strerror_and_strsignal_buffers_are_per_thread),
    CHECK(h_errno_and_res_are_per_thread),
    CHECK(locale_is_per_thread),
    CHECK(floating_point_and_ctype_work_everywhere),
    CHECK(rounding_modes_are_per_thread),
    CHECK(locals_and_registers_survive),
    CHECK(another_thread_can_reach_a_thread_variable),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
