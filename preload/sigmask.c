/* Signal masks: each green thread's own, which the kernel has while it runs; jumps that restore one;
 * alternate stacks. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/signal.h"

uint64_t signal_mask_of(const sigset_t *set)
{
    uint64_t mask;
    memcpy(&mask, set, sizeof mask);
    return mask & ~(UINT64_C(3) << 31) & ~signal_bit(SIGKILL) & ~signal_bit(SIGSTOP);
}

void signal_set_of(uint64_t mask, sigset_t *set)
{
    memset(set, 0, sizeof *set);
    memcpy(set, &mask, sizeof mask);
}

static int mask_change(struct green *g, int how, const sigset_t *set, sigset_t *old)
{
    uint64_t before = g->mask, mask = before;
    if (set) {
        uint64_t given = signal_mask_of(set);
        switch (how) {
        case SIG_BLOCK:
            mask |= given;
            break;
        case SIG_UNBLOCK:
            mask &= ~given;
            break;
        case SIG_SETMASK:
            mask = given;
            break;
        default:
            return EINVAL;
        }
    }
    if (old)
        signal_set_of(before, old);
    if (mask != before) {
        green_set_mask(g, mask);
        if (mask & ~before)
            green_mask_settle();
        if (before & ~mask)
            signal_run_pending(g);
    }
    return 0;
}

int green_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    PASS_UNLESS_GREEN(pthread_sigmask, how, set, old);
    return mask_change(green_tls.self, how, set, old);
}

int green_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    PASS_UNLESS_GREEN(sigprocmask, how, set, old);
    int error = mask_change(green_tls.self, how, set, old);
    if (error)
        errno = error;
    return error ? -1 : 0;
}

/* Blocked and pending: the kernel's, what waits for this green thread alone, and what a hub has just
 * taken for a process that blocks it. */
int green_sigpending(sigset_t *set)
{
    PASS_UNLESS_GREEN(sigpending, set);
    int result = real.sigpending(set);
    if (result == 0) {
        uint64_t mask;
        memcpy(&mask, set, sizeof mask);
        mask |= atomic_load(&green_tls.self->pending);
        mask |= signal_process_pending() & green_tls.self->mask;
        memcpy(set, &mask, sizeof mask);
    }
    return result;
}

bool signal_on_alt_stack(const struct green *g)
{
    const void *low = g->alt_in_use ? g->alt_in_use : g->alt_stack;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return low && here > (uintptr_t)low && here - (uintptr_t)low <= g->alt_size;
}

/* The kernel's knows nothing of a stack in use (SS_AUTODISARM), and checks the rest. */
int green_sigaltstack(const stack_t *stack, stack_t *old)
{
    PASS_UNLESS_GREEN(sigaltstack, stack, old);
    struct green *g = green_tls.self;
    bool here = signal_on_alt_stack(g);
    stack_t before = {.ss_flags = SS_DISABLE};
    if (g->alt_stack || g->alt_in_use)
        before = (stack_t){.ss_sp = here ? g->alt_in_use : g->alt_stack, .ss_size = g->alt_size,
                           .ss_flags = here ? SS_ONSTACK : g->alt_flags};
    if (stack) {
        if (here) {
            errno = EPERM;
            return -1;
        }
        if (real.sigaltstack(stack, NULL))
            return -1;
        bool off = stack->ss_flags & SS_DISABLE;
        g->alt_stack = off ? NULL : stack->ss_sp;
        g->alt_size = stack->ss_size;
        g->alt_flags = stack->ss_flags & ~SS_ONSTACK;
        green_alt_stack_changed(g);
    }
    if (old)
        *old = before;
    return 0;
}

/* ---- Jumps: libc sets the kernel's mask inside ---- */

static void mask_jump(const struct __jmp_buf_tag *env)
{
    struct green *g = self_green();
    offload_abandon();
    if (g && g->alt_in_use) {
        green_alt_stack_used(g, false);
        green_alt_stack_changed(g);
    }
    if (g && env->__mask_was_saved) {
        uint64_t mask;
        memcpy(&mask, &env->__saved_mask, sizeof mask);
        green_mask_is(g, mask);
        /* The jump is out of a handler that blocked what came meanwhile: nobody else looks. */
        if (atomic_load(&g->pending) & ~g->mask) {
            green_set_mask(g, mask);
            signal_run_pending(g);
        }
    }
}

_Noreturn void green_siglongjmp(struct __jmp_buf_tag *env, int value)
{
    mask_jump(env);
    real.siglongjmp(env, value);
    __builtin_unreachable();
}

_Noreturn void green___longjmp_chk(struct __jmp_buf_tag *env, int value)
{
    mask_jump(env);
    real.__longjmp_chk(env, value);
    __builtin_unreachable();
}
