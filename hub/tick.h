/* A clock for traces: cheaper than CLOCK_MONOTONIC, of no fixed unit.
 *
 * It counts at a steady rate on all processors: the processor's time stamp counter where that
 * holds, else nanoseconds. Who records pairs of tick_now() and clock_now() can turn one into the
 * other.
 */
#ifndef HUB_TICK_H
#define HUB_TICK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
/* The counter may be used. Written by tick_start(), before anything records. */
extern _Bool tick_counter;
#endif

/* Find out which clock it is; until then it is nanoseconds. At start. */
void tick_start(void);

/* Ticks. Any thread; async-signal-safe; never switches. */
static inline uint64_t tick_now(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(tick_counter, 1))
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The same moment on both clocks, to some 50 ns; *ns is CLOCK_MONOTONIC. */
void tick_pair(uint64_t *ticks, int64_t *ns);

#endif
