/* LeakSanitizer, which AddressSanitizer brings along, looks at exit for blocks that nothing points to.
 * It stops the OS threads and reads the stack and the thread-local data of each one that it knows. Of
 * the green threads on one carrier it finds one, and of what the others hold it would say that it
 * leaked. So it is told, before it looks, where they keep what they hold.
 */
#include "leaks.h"

#include <stdint.h>
#include <stdlib.h>

#include "coro/libc.h"
#include "hub/hub.h"
#include "thread.h"

/* lsan_interface.h: these bytes are read as the global variables are. Not there without a sanitizer. */
extern void __lsan_register_root_region(const void *begin, size_t size) __attribute__((weak));

static void leaks_root(const char *begin, const char *end)
{
    if (begin < end)
        __lsan_register_root_region(begin, (size_t)(end - begin));
}

/* Of a stack only what is in use: below it lies what finished calls have left, or nothing yet. One that
 * runs on another carrier may be anywhere on its stack. */
static void leaks_thread(struct green *g, void *self)
{
    struct coro_stack stack;
    if (g->foreign || !g->coro.region)
        return; /* its stack and control block are those of an OS thread */
    coro_stack_of(&g->coro, &stack);
    const char *low = stack.low, *end = low + stack.size, *used = low;
    if (g == self)
        used = __builtin_frame_address(0);
    else if (atomic_load(&g->state) == GREEN_PARKED)
        used = g->coro.sp;
    leaks_root(used >= low && used < end ? used : low, end);
    leaks_root((const char *)g->coro.tp - libc_tcb_below(), (const char *)((struct thread *)g + 1));
}

/* Exit handlers run in reverse order: the checker's, which is as old as the process, comes later. */
static void leaks_exit(void)
{
    struct thread *self = thread_self();
    green_each(leaks_thread, self ? &self->green : NULL);
}

void leaks_start(void)
{
    if (__lsan_register_root_region)
        atexit(leaks_exit);
}
