/* Memory of threads that ended: the monitor gives back, every now and then, what nobody has used since
 * the last time. That calls the program's free(), which may wait for a lock that a green thread holds: a
 * hub that waits would keep it from going on, and so would a monitor that others need. So it does it when
 * no hub has anything to do.
 *
 * Others may still have a pointer to a thread whose memory goes, since they always may come late: a
 * waker whose waiter has gone on, a signal's sender, who reads the list of threads. They were written for
 * memory that may become another thread's at any moment. Zeros add to this: each pointer that they read
 * there is read once and may be NULL; the state is GREEN_RUNNING, which nobody has a reason to wake; no
 * thread has the id 0. And what they write is overwritten when the memory is used again: green_new()
 * sets every field of struct green that is not its coroutine, and libc_tcb_init() whatever of libc's
 * block others may write.
 */
#include "trim.h"

#include <linux/futex.h>

#include "../coro/coro.h"
#include "../coro/sys.h"
#include "internal.h"

enum {
    TRIM_AFTER_NS = 100000000, /* unused for so long, and for twice as long at most */
    TRIM_BUDGET = 64,          /* regions at a time: the monitor has other things to do */
};

_Static_assert(GREEN_RUNNING == 0 && WAIT_NOTHING == 0, "what is read of memory that was given back");

static int64_t trim_next;       /* when the next part is due; the monitor's own */
static _Atomic int trim_sleeps; /* who gives back waits for a hint; a futex for trim_alone() */

void trim_tick(int64_t now)
{
    if (now >= trim_next)
        trim_next = coro_trim(TRIM_BUDGET) == TRIM_BUDGET ? now : now + TRIM_AFTER_NS;
}

int64_t trim_wait(int64_t now)
{
    if (!coro_trim_due())
        return -1;
    return trim_next > now ? trim_next - now : 0;
}

/* Who sets trim_sleeps and then looks, and who makes threads end and then reads it in trim_hint(): one of
 * the two sees the other. */
int64_t trim_wait_hint(int64_t now)
{
    atomic_store(&trim_sleeps, 1);
    atomic_thread_fence(memory_order_seq_cst);
    int64_t ns = trim_wait(now);
    if (ns >= 0)
        atomic_store(&trim_sleeps, 0);
    return ns;
}

_Noreturn void trim_alone(void)
{
    for (;;) {
        int64_t ns = trim_wait_hint(clock_now());
        if (ns < 0) {
            sys_6(SYS_futex, &trim_sleeps, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
        } else {
            struct timespec ts = {ns / 1000000000, ns % 1000000000};
            sys_2(SYS_nanosleep, &ts, NULL);
        }
        trim_tick(clock_now());
    }
}

void trim_hint(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&trim_sleeps, memory_order_relaxed) && coro_trim_due() &&
        atomic_exchange(&trim_sleeps, 0)) {
        sys_6(SYS_futex, &trim_sleeps, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        monitor_poke();
    }
}
