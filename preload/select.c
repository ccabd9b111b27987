/* select and pselect: see pollwait.c for the wait.
 *
 * A set may be larger than fd_set, and `count` larger than the set: the kernel looks no further
 * than the process's table of descriptors. That table is larger than the program made it, for
 * libgreen's own descriptors lie high: so count is cut here to what the program has opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/select.h>

#include "blocking.h"
#include "cancel.h"
#include "coro/sys.h"
#include "hub/alloc.h"
#include "iotry.h"
#include "patch.h"
#include "pollwait.h"

enum { SETS = 3, WORD_BITS = 64, SMALL_WORDS = FD_SETSIZE / WORD_BITS, SMALL_FDS = 64 };

struct select_call {
    struct pollwait wait;
    int count;
    size_t words;         /* of each set */
    uint64_t *sets[SETS]; /* the program's; NULL: none */
    uint64_t *scratch;    /* SETS * words */
    struct pollfd *fds;   /* made when it has to wait */
    uint64_t small_scratch[SETS * SMALL_WORDS];
    struct pollfd small_fds[SMALL_FDS];
};

static uint64_t *scratch_of(struct select_call *c, int set)
{
    return c->sets[set] ? c->scratch + (size_t)set * c->words : NULL;
}

static bool is_set(const uint64_t *set, int fd)
{
    return set && set[fd / WORD_BITS] >> fd % WORD_BITS & 1;
}

/* Takes the descriptors that were closed while the call waits out of the scratch sets, or puts them
 * in: the kernel ignores that they are closed, and tells them with the next one that is ready.
 * Returns how many bits that were. */
static long select_closed(struct select_call *c, bool put)
{
    long bits = 0;
    for (int fd = 0; fd < c->count; fd++) {
        if (!(is_set(c->sets[0], fd) || is_set(c->sets[1], fd) || is_set(c->sets[2], fd)) ||
            sys_3(SYS_fcntl, fd, F_GETFD, 0) >= 0)
            continue;
        for (int i = 0; i < SETS; i++) {
            uint64_t bit = UINT64_C(1) << fd % WORD_BITS;
            if (!is_set(c->sets[i], fd))
                continue;
            uint64_t *word = &scratch_of(c, i)[fd / WORD_BITS];
            *word = put ? *word | bit : *word & ~bit;
            bits++;
        }
    }
    return bits;
}

static void scratch_fill(struct select_call *c)
{
    for (int i = 0; i < SETS; i++)
        if (c->sets[i])
            memcpy(scratch_of(c, i), c->sets[i], c->words * sizeof(uint64_t));
}

static long select_real(struct select_call *c, const struct timespec *timeout, bool now)
{
    struct timespec left; /* the kernel writes what is left */
    if (timeout)
        left = *timeout;
    long args[6] = {c->count,
                    (long)scratch_of(c, 0),
                    (long)scratch_of(c, 1),
                    (long)scratch_of(c, 2),
                    timeout ? (long)&left : 0,
                    0};
    return now ? sys_6(SYS_pselect6, args[0], args[1], args[2], args[3], args[4], args[5])
               : blocking_syscall(true, SYS_pselect6, args[0], args[1], args[2], args[3], args[4],
                                  args[5]);
}

/* The program's sets are written on success only. */
static long select_look(struct pollwait *w, const struct timespec *timeout, bool now)
{
    struct select_call *c = (struct select_call *)w;
    scratch_fill(c);
    long r = select_real(c, timeout, now);
    if (r == -EBADF && c->fds) { /* it has waited */
        scratch_fill(c);
        select_closed(c, false);
        r = select_real(c, timeout, now);
        if (r >= 0)
            r += select_closed(c, true);
    }
    if (r > 0)
        for (int i = 0; i < SETS; i++)
            if (c->sets[i])
                memcpy(c->sets[i], scratch_of(c, i), c->words * sizeof(uint64_t));
    return r;
}

static short events_of(const struct select_call *c, int fd)
{
    static const short events[SETS] = {POLLIN, POLLOUT, POLLPRI};
    short all = 0;
    for (int i = 0; i < SETS; i++)
        if (is_set(c->sets[i], fd))
            all |= events[i];
    return all;
}

/* The sets as poll(2) has them; false without memory. */
static bool select_list(struct select_call *c)
{
    nfds_t n = 0;
    for (int fd = 0; fd < c->count; fd++)
        n += events_of(c, fd) != 0;
    c->fds = n <= SMALL_FDS ? c->small_fds : green_alloc(n * sizeof *c->fds);
    if (!c->fds)
        return false;
    n = 0;
    for (int fd = 0; fd < c->count; fd++) {
        short events = events_of(c, fd);
        if (events)
            c->fds[n++] = (struct pollfd){.fd = fd, .events = events};
    }
    c->wait.fds = c->fds;
    c->wait.count = n;
    return true;
}

static void select_clean(struct pollwait *w)
{
    struct select_call *c = (struct select_call *)w;
    if (c->fds && c->fds != c->small_fds)
        green_free(c->fds);
    if (c->scratch != c->small_scratch)
        green_free(c->scratch);
}

static int count_cut(int count)
{
    if (count <= FD_SETSIZE)
        return count;
    int seen = fd_highest() + 1;
    seen = seen > FD_SETSIZE ? (seen + WORD_BITS - 1) / WORD_BITS * WORD_BITS : FD_SETSIZE;
    return count < seen ? count : seen;
}

static long select_green(int count, fd_set *in, fd_set *out, fd_set *except, int64_t deadline,
                         const sigset_t *mask)
{
    struct select_call c;
    c.wait =
        (struct pollwait){.look = select_look, .mask = mask, .deadline = deadline, .looked = true};
    c.count = count;
    c.words = count > 0 ? ((size_t)count + WORD_BITS - 1) / WORD_BITS : 0;
    c.sets[0] = (uint64_t *)in;
    c.sets[1] = (uint64_t *)out;
    c.sets[2] = (uint64_t *)except;
    c.fds = NULL;
    c.scratch =
        c.words <= SMALL_WORDS ? c.small_scratch : green_alloc(SETS * c.words * sizeof(uint64_t));
    long r = -ENOMEM;
    if (c.scratch) {
        r = select_look(&c.wait, &(struct timespec){0, 0}, true);
        if (r == 0)
            r = select_list(&c) ? pollwait(&c.wait, select_clean) : -ENOMEM;
        select_clean(&c.wait);
    }
    if (r == 0)
        for (int i = 0; i < SETS; i++)
            if (c.sets[i])
                memset(c.sets[i], 0, c.words * sizeof(uint64_t));
    return r;
}

/* The time-out of select(2) in normal form; false when it is negative. */
static bool timeval_deadline(const struct timeval *timeout, int64_t *deadline)
{
    if (!timeout)
        return pollwait_deadline(NULL, deadline);
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
        return false;
    struct timespec ts = {timeout->tv_sec, timeout->tv_usec % 1000000 * 1000};
    if (__builtin_add_overflow(ts.tv_sec, timeout->tv_usec / 1000000, &ts.tv_sec))
        ts.tv_sec = INT64_MAX;
    return pollwait_deadline(&ts, deadline);
}

static bool any_wild(const void *a, const void *b, const void *c, const void *d, const void *e)
{
    return pollwait_wild(a) || pollwait_wild(b) || pollwait_wild(c) || pollwait_wild(d) ||
           pollwait_wild(e);
}

/* As Linux does, select writes what is left of the time (select(2)). */
int green_select(int count, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
    if (hub_started())
        count = count_cut(count);
    PASS_UNLESS_GREEN(select, count, in, out, except, timeout);
    if (any_wild(in, out, except, timeout, NULL))
        return real.select(count, in, out, except, timeout);
    int64_t deadline;
    cancel_act();
    if (!timeval_deadline(timeout, &deadline))
        return (int)iotry_result(-EINVAL);
    long r = select_green(count, in, out, except, deadline, NULL);
    if (timeout) {
        struct timespec left = {timeout->tv_sec, timeout->tv_usec * 1000};
        pollwait_left(deadline, &left);
        *timeout = (struct timeval){left.tv_sec, left.tv_nsec / 1000};
    }
    return (int)iotry_result(r);
}

int green_pselect(int count, fd_set *in, fd_set *out, fd_set *except,
                  const struct timespec *timeout, const sigset_t *mask)
{
    if (hub_started())
        count = count_cut(count);
    PASS_UNLESS_GREEN(pselect, count, in, out, except, timeout, mask);
    if (any_wild(in, out, except, timeout, mask))
        return real.pselect(count, in, out, except, timeout, mask);
    int64_t deadline;
    cancel_act();
    if (!pollwait_deadline(timeout, &deadline))
        return (int)iotry_result(-EINVAL);
    return (int)iotry_result(select_green(count, in, out, except, deadline, mask));
}
