/* The library that nobody patches: its functions make their system calls themselves. */
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

static long sleep_raw(struct timespec *ts)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(ts), "S"(0)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_nanosleep, x0 __asm__("x0") = (long)ts,
                  x1 __asm__("x1") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#endif
    return result;
}

void foreign_library_wait(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    sleep_raw(&ts);
    __asm__ volatile("" ::: "memory");
}
