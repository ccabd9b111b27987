/* The two functions by which a frame with a cleanup takes part in unwinding, forwarded to libgcc_s.
 *
 * They are called only while an unwinder is at work, which for a C program is the one that libc
 * loads at that moment; linking libgcc_s would load it into every program for the few that ever
 * unwind.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unwind.h>

#include "preload/patch.h"

typedef _Unwind_Reason_Code personality_fn(int version, _Unwind_Action actions,
                                           _Unwind_Exception_Class kind,
                                           struct _Unwind_Exception *exception,
                                           struct _Unwind_Context *context);
typedef void resume_fn(struct _Unwind_Exception *exception);

_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class kind,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context);

static void *unwind_find(_Atomic(void *) *kept, const char *name)
{
    void *found = atomic_load_explicit(kept, memory_order_acquire);
    if (found)
        return found;
    void *library = real.dlopen("libgcc_s.so.1", RTLD_NOW);
    found = library ? dlsym(library, name) : NULL;
    if (!found)
        __builtin_trap(); /* whoever called us has no unwinder to go on with */
    atomic_store_explicit(kept, found, memory_order_release);
    return found;
}

_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class kind,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context)
{
    static _Atomic(void *) kept;
    personality_fn *fn = (personality_fn *)(uintptr_t)unwind_find(&kept, "__gcc_personality_v0");
    return fn(version, actions, kind, exception, context);
}

void _Unwind_Resume(struct _Unwind_Exception *exception)
{
    static _Atomic(void *) kept;
    resume_fn *fn = (resume_fn *)(uintptr_t)unwind_find(&kept, "_Unwind_Resume");
    fn(exception);
    __builtin_trap();
}
