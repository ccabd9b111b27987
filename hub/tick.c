#include "tick.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <fcntl.h>

#include "../coro/sys.h"
#endif

#include "hub.h"

#if defined(__x86_64__)
bool tick_counter;

/* The kernel watches the counter, and takes another clock when it is not the same everywhere.
 * What a hypervisor offers instead of it (kvm-clock) is made from it. */
static bool kernel_distrusts_counter(void)
{
    static const char *const others[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies"};
    char name[32];
    long fd = sys_4(SYS_openat, AT_FDCWD,
                    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                    O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long n = sys_3(SYS_read, fd, name, sizeof name - 1);
    sys_1(SYS_close, fd);
    if (n <= 0)
        return false;
    name[n] = 0;
    name[strcspn(name, "\n")] = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

void tick_start(void)
{
    enum { POWER = 0x80000007, INVARIANT = 1 << 8 };
    unsigned a, b, c, d;
    tick_counter = __get_cpuid(POWER, &a, &b, &c, &d) && (d & INVARIANT) &&
                   !kernel_distrusts_counter();
}
#else
void tick_start(void)
{
}
#endif

/* The reading between two of the other clock that lie closest together is the truest: in between
 * the thread may have lost its processor. */
void tick_pair(uint64_t *ticks, int64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t before = tick_now();
        int64_t now = clock_now();
        uint64_t took = tick_now() - before;
        if (took >= best)
            continue;
        best = took;
        *ticks = before + took / 2;
        *ns = now;
    }
}
