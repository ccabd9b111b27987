/* What every wrapper begins with.
 *
 *   ssize_t green_recv(int fd, void *buf, size_t len, int flags)
 *   {
 *       PASS_UNLESS_GREEN(recv, fd, buf, len, flags);
 *       ... here a green thread runs, attached to its hub ...
 *   }
 *
 * libc's functions that have a row in patch-tables are called as real.NAME(...) everywhere in
 * libgreen, never by name.
 */
#ifndef PRELOAD_PATCH_H
#define PRELOAD_PATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gen/green.h"
#include "gen/patch_id.h"
#include "gen/real.h"
#include "hub/self.h"

/* Nonzero while wrappers have something to look at before they start: calls are counted, some group
 * is not patched, or some symbol binds its caller. Written at start only. */
extern int patch_special __attribute__((visibility("hidden")));

/* Calls of each symbol, counted under --stats. Relaxed; read at exit. */
extern _Atomic uint64_t patch_calls[PATCH_COUNT] __attribute__((visibility("hidden")));

/* In a forked child: nothing has been called yet. */
void patch_calls_forget(void);

/* Which groups are off (bit GROUP_x) and whether calls are counted. Called once, at start. */
void patch_setup(unsigned groups_off, bool count);

/* From now on a green thread that calls one of these symbols (names separated by commas) is bound to
 * an OS thread of its own first. Called at start, after patch_setup(). */
void patch_setup_binding(const char *names);

/* Counts the call, binds the caller where the symbol wants it; true when the symbol's group is not
 * patched. Any thread; async-signal-safe unless it binds; may switch only then. */
bool patch_special_enter(enum patch_id id);

/* True where the real call must be made: not a green thread, or the group is not patched. May
 * switch green threads: a thread that was asked to yields, one that lost its hub rejoins. */
static inline bool patch_passes(enum patch_id id)
{
    if (__builtin_expect(patch_special, 0) && patch_special_enter(id))
        return true;
    return __builtin_expect(atomic_load_explicit(&green_tls.own, memory_order_relaxed) !=
                                OWN_ATTACHED, 0) &&
           !hub_attach();
}

#define PASS_UNLESS_GREEN(name, ...)          \
    do {                                      \
        if (patch_passes(PATCH_##name))       \
            return real.name(__VA_ARGS__);    \
    } while (0)

#define PASS_UNLESS_GREEN_VOID(name, ...)     \
    do {                                      \
        if (patch_passes(PATCH_##name)) {     \
            real.name(__VA_ARGS__);           \
            return;                           \
        }                                     \
    } while (0)

#endif
