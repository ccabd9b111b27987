/* futex(2) for words that green threads wait on.
 *
 * A green thread waits in our queue where nobody but this process can see the word, else in the
 * kernel. Some wait in the kernel in any case: threads that are not ours, and code that makes the
 * system call itself. So every wake goes to our queue first, and for what it did not find there to
 * the kernel.
 */
#include "preload/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>

#include "coro/sys.h"
#include "preload/blocking.h"
#include "preload/locks.h"
#include "preload/mapping.h"

enum { FUTEX_FLAGS = FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME };

static long futex_kernel(const struct futex_args *f)
{
    return sys_6(SYS_futex, f->word, f->op, f->value, f->fourth, f->word2, f->value3);
}

static bool futex_misaligned(const uint32_t *word)
{
    return (uintptr_t)word % sizeof *word != 0;
}

/* ---- Waiting ---- */

struct futex_watch {
    _Atomic uint32_t *word;
    uint32_t value;
};

static bool futex_changed(void *arg)
{
    struct futex_watch *w = arg;
    return atomic_load(w->word) != w->value;
}

/* FUTEX_WAIT's limit is a span, FUTEX_WAIT_BITSET's a point in time. */
static int64_t futex_deadline(const struct futex_args *f)
{
    const struct timespec *limit = (const struct timespec *)f->fourth;
    if (!limit)
        return DEADLINE_NEVER;
    if ((f->op & ~FUTEX_FLAGS) == FUTEX_WAIT)
        return deadline_after(timespec_ns(limit));
    return deadline_from(f->op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, limit);
}

/* `polls`: other processes may change the word, which is then found out. */
static long futex_queue_wait(const struct futex_args *f, uint32_t bits, bool polls)
{
    struct futex_watch w = {(_Atomic uint32_t *)f->word, f->value};
    int64_t deadline = futex_deadline(f);
    bool waited = false;
    for (;;) {
        int64_t until = polls ? shared_tick(deadline) : deadline;
        switch (wait_on(WAIT_FUTEX, f->word, bits, futex_changed, &w, until, WAIT_BY_SIGNAL)) {
        case WAIT_NOT_NEEDED:
            return waited ? 0 : -EAGAIN;
        case WAIT_TIMED_OUT:
            if (until == deadline)
                return -ETIMEDOUT;
            waited = true;
            break;
        case WAIT_INTERRUPTED:
            return -EINTR;
        case WAIT_RESTARTED: /* the kernel begins a limited wait anew only where no handler ran */
            if (f->fourth)
                return -EINTR;
            break;
        default:
            return 0;
        }
    }
}

static long futex_wait(const struct futex_args *f, uint32_t bits)
{
    const struct timespec *limit = (const struct timespec *)f->fourth;
    if (limit && !mapping_readable(f->fourth))
        return -EFAULT;
    if (limit && (limit->tv_sec < 0 || !timespec_valid(limit)))
        return -EINVAL;
    if (!bits || futex_misaligned(f->word))
        return -EINVAL;
    bool shared = false;
    if (!(f->op & FUTEX_PRIVATE_FLAG))
        shared = mapping_at((uintptr_t)f->word) == MAPPING_SHARED;
    if (!mapping_readable((uintptr_t)f->word))
        return -EFAULT;
    if (!shared || shared_polls())
        return futex_queue_wait(f, bits, shared);
    call_begin();
    long result = futex_kernel(f);
    call_end();
    return result;
}

/* ---- Waking ---- */

/* The kernel takes any number below 1 for 1. */
static long futex_wake(uint32_t *word, int flags, uint32_t max, uint32_t bits)
{
    if (!bits || futex_misaligned(word))
        return -EINVAL;
    size_t want = (int)max < 1 ? 1 : max;
    atomic_thread_fence(memory_order_seq_cst); /* the caller's store before the look at the queue */
    size_t woken = wake(WAIT_FUTEX, word, want, bits);
    if (woken == want)
        return (long)woken;
    long more = sys_6(SYS_futex, word, FUTEX_WAKE_BITSET | flags, want - woken, NULL, NULL, bits);
    if (more < 0)
        return woken ? (long)woken : more;
    return (long)woken + more;
}

long futex_wake_v2(uint32_t *word, unsigned long mask, int max, unsigned flags)
{
    long number = 454; /* SYS_futex_wake; Debian 12's headers do not have it */
    atomic_thread_fence(memory_order_seq_cst);
    size_t woken = max > 0 && !futex_misaligned(word)
                       ? wake(WAIT_FUTEX, word, (size_t)max, (uint32_t)mask)
                       : 0;
    if (woken && woken == (size_t)max)
        return (long)woken;
    long more = sys_4(number, word, mask, max - (int)woken, flags);
    if (more < 0)
        return woken ? (long)woken : more;
    return (long)woken + more;
}

/* ---- Moving waiters ---- */

static bool futex_equal(void *arg)
{
    return !futex_changed(arg);
}

static long futex_requeue(const struct futex_args *f, bool compare)
{
    if ((int)f->value < 0 || (int)f->fourth < 0 || futex_misaligned(f->word) ||
        futex_misaligned(f->word2))
        return -EINVAL;
    if (!mapping_readable((uintptr_t)f->word))
        return -EFAULT;
    struct futex_watch w = {(_Atomic uint32_t *)f->word, f->value3};
    size_t moved = 0;
    atomic_thread_fence(memory_order_seq_cst);
    long woken = wait_requeue(WAIT_FUTEX, f->word, f->value, f->word2, (size_t)f->fourth,
                              compare ? futex_equal : NULL, &w, &moved);
    if (woken < 0)
        return -EAGAIN;
    if (!woken && !moved)
        return futex_kernel(f);
    struct futex_args rest = *f;
    rest.op = FUTEX_REQUEUE | (f->op & FUTEX_PRIVATE_FLAG);
    rest.value = f->value - (uint32_t)woken;
    rest.fourth = f->fourth - moved;
    long more = rest.value || rest.fourth ? futex_kernel(&rest) : 0;
    return woken + (long)moved + (more > 0 ? more : 0);
}

/* ---- Changing a word and waking ---- */

static int32_t sign_extended(uint32_t twelve_bits)
{
    return (int32_t)(twelve_bits << 20) >> 20;
}

/* Does to the second word what `code` says; its value before in *before. */
static bool futex_operate(_Atomic uint32_t *word, uint32_t code, uint32_t *before)
{
    uint32_t operand = (uint32_t)sign_extended(code >> 12 & 0xfff);
    if (code >> 28 & FUTEX_OP_OPARG_SHIFT)
        operand = 1u << (operand & 31);
    switch (code >> 28 & 7) {
    case FUTEX_OP_SET:
        *before = atomic_exchange(word, operand);
        return true;
    case FUTEX_OP_ADD:
        *before = atomic_fetch_add(word, operand);
        return true;
    case FUTEX_OP_OR:
        *before = atomic_fetch_or(word, operand);
        return true;
    case FUTEX_OP_ANDN:
        *before = atomic_fetch_and(word, ~operand);
        return true;
    case FUTEX_OP_XOR:
        *before = atomic_fetch_xor(word, operand);
        return true;
    default:
        return false;
    }
}

/* Whether the value before calls for the second wake; -1: no such comparison. */
static int futex_compare(int32_t before, uint32_t code)
{
    int32_t with = sign_extended(code & 0xfff);
    switch (code >> 24 & 15) {
    case FUTEX_OP_CMP_EQ:
        return before == with;
    case FUTEX_OP_CMP_NE:
        return before != with;
    case FUTEX_OP_CMP_LT:
        return before < with;
    case FUTEX_OP_CMP_GE:
        return before >= with;
    case FUTEX_OP_CMP_LE:
        return before <= with;
    case FUTEX_OP_CMP_GT:
        return before > with;
    default:
        return -1;
    }
}

static long futex_wake_op(const struct futex_args *f)
{
    if (futex_misaligned(f->word) || futex_misaligned(f->word2))
        return -EINVAL;
    if (!mapping_readable((uintptr_t)f->word) || !mapping_readable((uintptr_t)f->word2))
        return -EFAULT;
    uint32_t before;
    if (!futex_operate((_Atomic uint32_t *)f->word2, f->value3, &before))
        return -ENOSYS;
    int second = futex_compare((int32_t)before, f->value3);
    if (second < 0)
        return -ENOSYS;
    int flags = f->op & FUTEX_PRIVATE_FLAG;
    long woken = futex_wake(f->word, flags, f->value, WAIT_ANY_BITS);
    if (woken < 0 || !second)
        return woken;
    long more = futex_wake(f->word2, flags, (uint32_t)f->fourth, WAIT_ANY_BITS);
    return woken + (more > 0 ? more : 0);
}

/* ---- The call ---- */

/* What only the kernel does: locks that inherit priority. */
static long futex_blocking(const struct futex_args *f, bool green)
{
    if (!green)
        return futex_kernel(f);
    return blocking_syscall(false, SYS_futex, (long)f->word, f->op, f->value, (long)f->fourth,
                            (long)f->word2, f->value3);
}

long futex_call(const struct futex_args *f, bool green)
{
    int command = f->op & ~FUTEX_FLAGS;
    if (f->op & FUTEX_CLOCK_REALTIME && command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET)
        return futex_blocking(f, green);
    switch (command) {
    case FUTEX_WAIT:
        return green ? futex_wait(f, WAIT_ANY_BITS) : futex_kernel(f);
    case FUTEX_WAIT_BITSET:
        return green ? futex_wait(f, f->value3) : futex_kernel(f);
    case FUTEX_WAKE:
        return futex_wake(f->word, f->op & FUTEX_PRIVATE_FLAG, f->value, WAIT_ANY_BITS);
    case FUTEX_WAKE_BITSET:
        return futex_wake(f->word, f->op & FUTEX_PRIVATE_FLAG, f->value, f->value3);
    case FUTEX_REQUEUE:
        return futex_requeue(f, false);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(f, true);
    case FUTEX_WAKE_OP:
        return futex_wake_op(f);
    default:
        return futex_blocking(f, green);
    }
}
