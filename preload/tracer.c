/* Debuggers and their like. A child that asks to be traced (PTRACE_TRACEME) gets the OS thread that made
 * it as its tracer, and obeys no other; and it stops where nobody but wait() can see it. Neither is
 * known when it is made, nor who will call ptrace() later. So in a program that has that function at
 * all, whoever forks keeps the OS thread it is on, and children are waited for by real calls.
 */
#include "tracer.h"

#include "bind.h"
#include "rebind.h"
#include "thread.h"

static bool tracer_program; /* immutable once there are threads */

void tracer_start(void)
{
    tracer_program = rebind_refers("ptrace");
    tracer_forks(); /* maybe it has */
}

void tracer_forks(void)
{
    if (tracer_program && thread_self())
        bind_self();
}

bool tracer_waits(void)
{
    return tracer_program;
}
