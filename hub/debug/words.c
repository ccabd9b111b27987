#include "hub/debug/words.h"

const char *words_state(enum look_state state)
{
    static const char *const words[] = {"parked",   "runnable", "running",
                                        "detached", "bound",    "ended"};
    return words[state];
}

const char *words_wait(enum wait_kind kind)
{
    static const char *const words[WAIT_KINDS] = {
        [WAIT_NOTHING] = "",          [WAIT_MUTEX] = "mutex",      [WAIT_COND] = "condition",
        [WAIT_RWLOCK] = "rwlock",     [WAIT_BARRIER] = "barrier",  [WAIT_SEM] = "semaphore",
        [WAIT_ONCE] = "pthread_once", [WAIT_FUTEX] = "futex",      [WAIT_JOIN] = "join of",
        [WAIT_FILE] = "FILE",         [WAIT_SLEEP] = "sleep",      [WAIT_FD] = "descriptor",
        [WAIT_POLL] = "descriptors from", [WAIT_SIGNALS] = "signals", [WAIT_CHILD] = "child",
        [WAIT_OFFLOAD] = "offloaded call", [WAIT_DNS] = "name lookup",
    };
    return (unsigned)kind < WAIT_KINDS && words[kind] ? words[kind] : "?";
}
