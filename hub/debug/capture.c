#include "hub/debug/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "coro/decimal.h"
#include "coro/sys.h"
#include "gen/real.h"

enum { ANSWER_MS = 300, HOLD_MS = 500 };

enum held { HELD_NOBODY, HELD_WANTED, HELD_THERE };

/* `state` is the futex word. The rest belongs to the handler while it is HELD_WANTED, else to who
 * captures. */
static struct {
    _Atomic int state;
    pid_t tid;
    struct unwind_regs regs;
} hold;

/* Written at start. */
static int capture_sig;
static void (*capture_handler)(int, siginfo_t *, void *);

void capture_start(int sig, const struct sigaction *act)
{
    capture_sig = sig;
    capture_handler = act->sa_sigaction;
}

static bool capture_may_signal(void)
{
    struct sigaction now;
    return capture_sig && real.sigaction(capture_sig, NULL, &now) == 0 &&
           now.sa_sigaction == capture_handler;
}

static void hold_wait(int while_it_is, int ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    sys_6(SYS_futex, &hold.state, FUTEX_WAIT_PRIVATE, while_it_is, &ts, 0, 0);
}

static void hold_set(int state)
{
    atomic_store(&hold.state, state);
    sys_6(SYS_futex, &hold.state, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void regs_of(struct unwind_regs *regs, const ucontext_t *context)
{
    const mcontext_t *m = &context->uc_mcontext;
    *regs = (struct unwind_regs){.exact = true};
#if defined(__x86_64__)
    static const int order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    for (unsigned i = 0; i < 16; i++)
        regs->reg[i] = (uintptr_t)m->gregs[order[i]];
    regs->have = 0xffff;
    regs->pc = (uintptr_t)m->gregs[REG_RIP];
#elif defined(__aarch64__)
    for (unsigned i = 0; i < 31; i++)
        regs->reg[i] = m->regs[i];
    regs->reg[CFI_SP] = m->sp;
    regs->have = 0xffffffff;
    regs->pc = m->pc;
#endif
}

bool capture_signalled(const siginfo_t *info, const void *context)
{
    if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != &hold)
        return false;
    if (atomic_load(&hold.state) == HELD_WANTED && hold.tid == (pid_t)sys_0(SYS_gettid)) {
        regs_of(&hold.regs, context);
        hold_set(HELD_THERE);
        hold_wait(HELD_THERE, HOLD_MS);
    }
    return true;
}

static bool capture_by_signal(pid_t tid, struct unwind_regs *regs)
{
    if (!capture_may_signal())
        return false;
    siginfo_t info = {.si_signo = capture_sig, .si_code = SI_QUEUE};
    info.si_value.sival_ptr = &hold;
    info.si_pid = (pid_t)sys_0(SYS_getpid);
    hold.tid = tid;
    atomic_store(&hold.state, HELD_WANTED);
    if (sys_4(SYS_rt_tgsigqueueinfo, sys_0(SYS_getpid), tid, capture_sig, &info) == 0)
        for (int ms = 0; ms < ANSWER_MS && atomic_load(&hold.state) == HELD_WANTED; ms += 10)
            hold_wait(HELD_WANTED, 10);
    int wanted = HELD_WANTED;
    if (atomic_compare_exchange_strong(&hold.state, &wanted, HELD_NOBODY))
        return false;
    *regs = hold.regs;
    return true;
}

void capture_release(void)
{
    if (atomic_load(&hold.state) == HELD_THERE)
        hold_set(HELD_NOBODY);
}

/* ---- What the kernel says ---------------------------------------------------------------------- */

static const char *number_next(const char *p, uint64_t *value)
{
    bool negative = *p == '-';
    p += negative;
    *value = 0;
    if (p[0] == '0' && p[1] == 'x') {
        for (p += 2;; p++) {
            unsigned digit = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0')
                             : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                                                      : 16;
            if (digit == 16)
                break;
            *value = *value << 4 | digit;
        }
    } else {
        for (; *p >= '0' && *p <= '9'; p++)
            *value = *value * 10 + (unsigned)(*p - '0');
    }
    if (negative)
        *value = -*value;
    while (*p == ' ')
        p++;
    return p;
}

/* /proc/self/task/TID/syscall: the number, six arguments, the stack pointer and the next
 * instruction; or "running". */
static bool capture_asleep(pid_t tid, struct unwind_regs *regs, struct capture_call *call)
{
    char text[256], path[64] = "/proc/self/task/";
    decimal_path(path, (uint64_t)tid, "/syscall");
    long fd = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long got = sys_3(SYS_read, fd, text, sizeof text - 1);
    sys_1(SYS_close, fd);
    if (got <= 0 || text[0] == 'r')
        return false;
    text[got] = 0;
    uint64_t value, sp, pc;
    const char *p = number_next(text, &value);
    call->number = (long)value;
    for (int i = 0; i < 6 && call->number >= 0; i++) {
        p = number_next(p, &value);
        call->args[i] = (long)value;
    }
    p = number_next(p, &sp);
    number_next(p, &pc);
    if (!sp || !pc)
        return false;
    *regs = (struct unwind_regs){.pc = pc, .exact = true};
    regs->reg[CFI_SP] = sp;
    regs->have = UINT64_C(1) << CFI_SP;
    return true;
}

bool capture(pid_t tid, struct unwind_regs *regs, struct capture_call *call)
{
    *call = (struct capture_call){.number = -1};
    return capture_asleep(tid, regs, call) || capture_by_signal(tid, regs);
}
