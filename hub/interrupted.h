/* What a signal handler can tell of the system call that the signal came in, and do to it. */
#ifndef HUB_INTERRUPTED_H
#define HUB_INTERRUPTED_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum interrupted {
    INTERRUPTED_NOTHING, /* it came somewhere else */
    INTERRUPTED_AGAIN,   /* the call is to be made (again) when the handler returns */
    INTERRUPTED_ENDS,    /* it has returned EINTR */
};

#if defined(__x86_64__)
enum { INTERRUPTED_SIZE = 2 };
#define INTERRUPTED_PC(m) ((m)->gregs[REG_RIP])
#define INTERRUPTED_RESULT(m) ((m)->gregs[REG_RAX])
#elif defined(__aarch64__)
enum { INTERRUPTED_SIZE = 4 };
#define INTERRUPTED_PC(m) ((m)->pc)
#define INTERRUPTED_RESULT(m) ((m)->regs[0])
#endif

static inline int interrupted_calls(uintptr_t pc)
{
#if defined(__x86_64__)
    static const unsigned char call[INTERRUPTED_SIZE] = {0x0f, 0x05};
#elif defined(__aarch64__)
    static const unsigned char call[INTERRUPTED_SIZE] = {0x01, 0x00, 0x00, 0xd4};
#endif
    return memcmp((const void *)pc, call, sizeof call) == 0;
}

/* `context` is the handler's. */
static inline enum interrupted interrupted_where(const ucontext_t *context)
{
    const mcontext_t *m = &context->uc_mcontext;
    uintptr_t pc = (uintptr_t)INTERRUPTED_PC(m);
    if (interrupted_calls(pc))
        return INTERRUPTED_AGAIN;
    if ((long)INTERRUPTED_RESULT(m) == -EINTR && interrupted_calls(pc - INTERRUPTED_SIZE))
        return INTERRUPTED_ENDS;
    return INTERRUPTED_NOTHING;
}

/* Of one that is to be made again: it returns EINTR instead. */
static inline void interrupted_end(ucontext_t *context)
{
    mcontext_t *m = &context->uc_mcontext;
    INTERRUPTED_PC(m) += INTERRUPTED_SIZE;
    INTERRUPTED_RESULT(m) = (__typeof__(INTERRUPTED_RESULT(m)))-EINTR;
}

#endif
