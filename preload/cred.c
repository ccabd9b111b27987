/* The user and group ids of the process: setuid() and its family.
 *
 * The kernel keeps them with each OS thread. libc sends a signal to every thread in its list, whose
 * handler makes the same system call and then notes in the control block that the thread pointer
 * names that it has. Green threads' blocks are not in that list, and the thread pointer names one
 * whenever the signal finds a green thread running. So
 * - the handler is wrapped: it runs on the block that libc gave the OS thread;
 * - the call itself is made by a helper thread, which stands on its own block, unless the caller
 *   happens to.
 */
#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>

#include "coro/coro.h"
#include "coro/sys.h"
#include "hub/hub.h"
#include "hub/sleeps.h"
#include "patch.h"
#include "rawsignal.h"
#include "thread.h"

/* ---- The handler ---- */

/* libc's; every thread that stores it stores the same. */
static void (*_Atomic cred_libc_handler)(int, siginfo_t *, void *);

struct cred_signal {
    int sig;
    siginfo_t *info;
    void *context;
};

static long cred_signal_there(void *arg)
{
    struct cred_signal *s = arg;
    void (*handler)(int, siginfo_t *, void *) = atomic_load(&cred_libc_handler);
    handler(s->sig, s->info, s->context);
    return 0;
}

/* With every signal blocked: another handler would find the wrong thread's words. */
static void cred_signal(int sig, siginfo_t *info, void *context)
{
    struct cred_signal s = {sig, info, context};
    coro_call_on(hub_native_tp(), cred_signal_there, &s);
}

/* libc installs its handler with the first thread of a process, and anew in a forked child. */
static void cred_wrap_handler(void)
{
    struct raw_action action;
    if (raw_sigaction(RAW_SIGSETXID, NULL, &action) < 0 || !action.handler ||
        action.handler == cred_signal)
        return;
    atomic_store(&cred_libc_handler, action.handler);
    action.handler = cred_signal;
    action.mask = ~UINT64_C(0);
    raw_sigaction(RAW_SIGSETXID, &action, NULL);
}

/* ---- The calls ---- */

/* One call: the function that is not NULL, with its arguments, and what came of it. */
struct cred_call {
    int (*one)(id_t);
    int (*two)(id_t, id_t);
    int (*three)(id_t, id_t, id_t);
    id_t id[3];
    int (*list)(size_t, const gid_t *);
    size_t count;
    const gid_t *groups;
    int error;
};

static int cred_dispatch(const struct cred_call *c)
{
    if (c->one)
        return c->one(c->id[0]);
    if (c->two)
        return c->two(c->id[0], c->id[1]);
    if (c->three)
        return c->three(c->id[0], c->id[1], c->id[2]);
    return c->list(c->count, c->groups);
}

/* Not inlined: errno is that of the control block on which it runs. Its owner may be elsewhere. */
static __attribute__((noinline)) long cred_make(void *arg)
{
    struct cred_call *c = arg;
    int before = errno;
    int result = cred_dispatch(c);
    c->error = errno;
    errno = before;
    return result;
}

/* On the native block of the caller's own OS thread. */
static int cred_make_there(struct cred_call *c)
{
    const uint64_t all = ~(UINT64_C(1) << (RAW_SIGCANCEL - 1) | UINT64_C(1) << (RAW_SIGSETXID - 1));
    uint64_t before;
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    int result = (int)coro_call_on(hub_native_tp(), cred_make, c);
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return result;
}

static int cred_change_all(bool passes, struct cred_call c)
{
    if (hub_native_tp() == (uintptr_t)__builtin_thread_pointer())
        return cred_dispatch(&c);
    int result = passes ? cred_make_there(&c) : (int)offload(cred_make, &c, 0);
    if (result)
        errno = c.error;
    return result;
}

/* May switch. */
static int cred_change(enum patch_id symbol, struct cred_call c)
{
    bool passes = patch_passes(symbol);
    if (!hub_started() || atomic_load(&green_tls.own) == OWN_VFORK)
        return cred_dispatch(&c);
    cred_wrap_handler();
    sleeps_bar();
    int result = cred_change_all(passes, c);
    sleeps_unbar();
    return result;
}

int green_setuid(uid_t uid)
{
    return cred_change(PATCH_setuid, (struct cred_call){.one = real.setuid, .id = {uid}});
}

int green_seteuid(uid_t uid)
{
    return cred_change(PATCH_seteuid, (struct cred_call){.one = real.seteuid, .id = {uid}});
}

int green_setreuid(uid_t uid, uid_t effective)
{
    return cred_change(PATCH_setreuid,
                       (struct cred_call){.two = real.setreuid, .id = {uid, effective}});
}

int green_setresuid(uid_t uid, uid_t effective, uid_t saved)
{
    return cred_change(PATCH_setresuid,
                       (struct cred_call){.three = real.setresuid, .id = {uid, effective, saved}});
}

int green_setgid(gid_t gid)
{
    return cred_change(PATCH_setgid, (struct cred_call){.one = real.setgid, .id = {gid}});
}

int green_setegid(gid_t gid)
{
    return cred_change(PATCH_setegid, (struct cred_call){.one = real.setegid, .id = {gid}});
}

int green_setregid(gid_t gid, gid_t effective)
{
    return cred_change(PATCH_setregid,
                       (struct cred_call){.two = real.setregid, .id = {gid, effective}});
}

int green_setresgid(gid_t gid, gid_t effective, gid_t saved)
{
    return cred_change(PATCH_setresgid,
                       (struct cred_call){.three = real.setresgid, .id = {gid, effective, saved}});
}

int green_setgroups(size_t count, const gid_t *groups)
{
    return cred_change(PATCH_setgroups, (struct cred_call){
                                            .list = real.setgroups,
                                            .count = count,
                                            .groups = groups,
                                        });
}

/* As libc's, which would look the groups up and set them in one go, on one control block. */
int green_initgroups(const char *user, gid_t group)
{
    if (patch_passes(PATCH_initgroups) && !thread_self())
        return real.initgroups(user, group);
    int count = 64;
    gid_t *groups = NULL;
    for (;;) {
        int room = count;
        gid_t *more = realloc(groups, (size_t)room * sizeof *groups);
        if (!more)
            break;
        groups = more;
        if (getgrouplist(user, group, groups, &count) >= 0) {
            int result;
            /* The kernel may take fewer than a user has. */
            do
                result = green_setgroups((size_t)count, groups);
            while (result < 0 && errno == EINVAL && --count > 0);
            free(groups);
            return result;
        }
        if (count <= room) /* not that the room was short */
            break;
    }
    free(groups);
    return -1;
}
