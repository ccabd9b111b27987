/* Start-up, in this order:
 *   1. the constructor, before any other code of the process (-z initfirst): libc's functions are
 *      found, the environment is read, libc's insides are checked;
 *   2. the other libraries' constructors: wrappers pass to libc;
 *   3. __libc_start_main: main() is run in a frame of ours;
 *   4. the first pthread_create(): the runtime starts (thread.c).
 */
#include <stddef.h>
#include <sys/auxv.h>

#include "attr.h"
#include "bind.h"
#include "cancel.h"
#include "config.h"
#include "coro/coro.h"
#include "coro/libc.h"
#include "coro/sys.h"
#include "hub/debug/debugging.h"
#include "fork.h"
#include "hub/hub.h"
#include "patch.h"
#include "preload/signal.h"
#include "stats.h"
#include "stream.h"
#include "thread.h"

static size_t start_length(const char *text)
{
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

static _Noreturn void start_refuse(const char *why)
{
    const char *const parts[] = {
        "libgreen: ", why, "\nhint: see eventlet-run --doctor, or run the program natively\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        sys_3(SYS_write, 2, parts[i], start_length(parts[i]));
    sys_1(SYS_exit_group, 125);
    __builtin_trap();
}

/* On the green thread's own stack, whenever it was interrupted. */
static int start_interrupted(struct green *g, uint32_t why)
{
    (void)why;
    bind_interrupted(g);
    cancel_interrupted();
    return signal_run_pending(g);
}

/* libc has not set `environ` yet, so it is taken from the loader's arguments. */
__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    real_bind();
    config_read(envp, getauxval(AT_SECURE) != 0);
    patch_setup(~config.patch, config.stats != GREEN_STATS_OFF);
    patch_setup_binding(config.bind);
    hub_interrupt_hook = start_interrupted;
    offload_prod_hook = cancel_prod;
    signal_start();
    stats_start();
    debug_start();
    if (!config_patches(GROUP_thread))
        return;
    const char *why = coro_start();
    if (!why && config_patches(GROUP_stdio))
        why = stream_start();
    if (why)
        start_refuse(why);
    fork_start();
    attr_start();
}

/* ---- main() ---- */

static int (*start_program)(int, char **, char **); /* set once, by the loader's thread */

struct start_call {
    int argc;
    char **argv;
    char **envp;
    int status;
    bool returned;
};

static void *start_body(void *arg)
{
    struct start_call *call = arg;
    call->status = start_program(call->argc, call->argv, call->envp);
    call->returned = true;
    return NULL;
}

/* A pthread_exit() in main would unwind to libc's frame below it, which ends the OS thread; ours
 * comes first, and ends the green thread. */
static int start_main(int argc, char **argv, char **envp)
{
    struct start_call call = {.argc = argc, .argv = argv, .envp = envp};
    void *value = libc_run(start_body, &call);
    if (call.returned)
        return call.status;
    if (hub_started())
        thread_main_exited(value);
    real.pthread_exit(value);
}

int green___libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                            void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                            void *stack_end)
{
    start_program = main;
    return real.__libc_start_main(config_patches(GROUP_thread) ? start_main : main, argc, argv,
                                  init, fini, rtld_fini, stack_end);
}
