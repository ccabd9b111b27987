/* Kept epoll sets: see pollset.h. */
#include "pollset.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>

#include "coro/sys.h"
#include "hub/alloc.h"
#include "hub/hub.h"

enum {
    KEPT = 32, /* sets that nobody uses at the moment */
    /* The bits of poll(2) and epoll_ctl(2) are the same. Errors and hang-ups are always told. */
    MASK = POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND |
           POLLMSG | POLLRDHUP,
};

struct slot {
    int fd; /* -1: free */
    uint32_t generation;
    uint32_t round;  /* of the update that wanted it last */
    uint16_t wanted; /* mask of that update */
    uint16_t events; /* mask in the set */
    bool added;      /* is in the set */
};

/* Owned by who took it, or by who holds the list. */
struct pollset {
    struct pollset *next;
    const void *owner; /* the green thread that had it last */
    int epfd;
    uint32_t generation; /* of epfd's number: a fork closes it */
    uint32_t round;
    size_t used, room; /* slots; room is a power of two, more than twice used */
    struct slot *slots;
};

/* Who finds the list held does without it: the holder may be the thread that a signal handler has
 * interrupted. */
static atomic_flag kept_held = ATOMIC_FLAG_INIT;
static struct pollset *kept; /* the last one that was used first */
static unsigned kept_count;

int pollset_fd(const struct pollset *s)
{
    return s->epfd;
}

/* ---- Slots: a hash table by descriptor number ---- */

static struct slot *slot_find(const struct pollset *s, int fd)
{
    size_t i = (unsigned)fd * 2654435761u;
    while (s->slots[i & (s->room - 1)].fd >= 0 && s->slots[i & (s->room - 1)].fd != fd)
        i++;
    return &s->slots[i & (s->room - 1)];
}

/* Room for n more; what is not in the epoll set is forgotten. */
static bool slots_grow(struct pollset *s, size_t n)
{
    if ((s->used + n) * 2 < s->room)
        return true;
    struct pollset to = *s;
    to.used = 0;
    to.room = 16;
    while (to.room <= (s->used + n) * 2)
        to.room *= 2;
    to.slots = green_alloc(to.room * sizeof *to.slots);
    if (!to.slots)
        return false;
    for (size_t i = 0; i < to.room; i++)
        to.slots[i].fd = -1;
    for (size_t i = 0; i < s->room; i++) {
        if (s->slots[i].fd < 0 || !s->slots[i].added)
            continue;
        *slot_find(&to, s->slots[i].fd) = s->slots[i];
        to.used++;
    }
    green_free(s->slots);
    *s = to;
    return true;
}

/* ---- The epoll set ---- */

static uint32_t generation_of(int fd)
{
    struct fd_entry *e = fd_entry(fd);
    return e ? atomic_load_explicit(&e->generation, memory_order_relaxed) : 0;
}

static bool set_open(struct pollset *s)
{
    long fd = sys_1(SYS_epoll_create1, EPOLL_CLOEXEC);
    if (fd < 0)
        return false;
    s->epfd = fd_make_private((int)fd);
    s->generation = generation_of(s->epfd);
    return true;
}

/* In a forked child the descriptor is gone, and its number may be another's. */
static bool set_lives(const struct pollset *s)
{
    return fd_is_private(s->epfd) && generation_of(s->epfd) == s->generation;
}

static void set_close(struct pollset *s)
{
    if (!set_lives(s))
        return;
    fd_closing(s->epfd);
    fd_private_closed(s->epfd);
    sys_1(SYS_close, s->epfd);
}

static void set_delete(struct pollset *s)
{
    set_close(s);
    green_free(s->slots);
    green_free(s);
}

static struct pollset *set_new(void)
{
    struct pollset *s = green_calloc(1, sizeof *s);
    if (s && !set_open(s)) {
        green_free(s);
        s = NULL;
    }
    return s;
}

enum told { TOLD, TOLD_STALE, TOLD_REFUSED };

/* Tell the kernel about one descriptor. */
static enum told slot_tell(struct pollset *s, struct slot *slot)
{
    bool wanted = slot->round == s->round;
    if (slot->added && slot->generation != generation_of(slot->fd))
        return TOLD_STALE;
    if (wanted == slot->added && (!wanted || slot->wanted == slot->events))
        return TOLD;
    struct epoll_event event = {.events = slot->wanted, .data.fd = slot->fd};
    int op = !wanted ? EPOLL_CTL_DEL : slot->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    long r = sys_4(SYS_epoll_ctl, s->epfd, op, slot->fd, &event);
    switch (r) {
    case 0:
        slot->added = wanted;
        slot->events = slot->wanted;
        slot->generation = generation_of(slot->fd);
        return TOLD;
    case -EPERM: /* a plain file: always ready, or never for what is asked */
    case -EBADF: /* the real call has said what poll or select say to that */
        return TOLD;
    case -ENOENT:
    case -EEXIST:
        return TOLD_STALE;
    default:
        return TOLD_REFUSED;
    }
}

static enum told set_update(struct pollset *s, const struct pollfd *fds, nfds_t count)
{
    if (!slots_grow(s, count))
        return TOLD_REFUSED;
    s->round++;
    for (nfds_t i = 0; i < count; i++) {
        if (fds[i].fd < 0)
            continue;
        struct slot *slot = slot_find(s, fds[i].fd);
        if (slot->fd < 0) {
            *slot = (struct slot){.fd = fds[i].fd};
            s->used++;
        }
        if (slot->round != s->round)
            slot->wanted = 0;
        slot->round = s->round;
        slot->wanted |= (uint16_t)(fds[i].events & MASK);
    }
    enum told told = TOLD;
    for (size_t i = 0; i < s->room && told == TOLD; i++)
        if (s->slots[i].fd >= 0)
            told = slot_tell(s, &s->slots[i]);
    return told;
}

/* A number of the set has changed hands. What it had watched cannot be taken off while another
 * number has the same description, so the epoll set is made anew. */
static enum told set_renew(struct pollset *s, const struct pollfd *fds, nfds_t count)
{
    set_close(s);
    green_free(s->slots);
    s->slots = NULL;
    s->used = s->room = 0;
    s->epfd = -1;
    return set_open(s) ? set_update(s, fds, count) : TOLD_REFUSED;
}

/* ---- Taking and giving back ---- */

/* Take one out of the list; by its holder. */
static struct pollset *kept_remove(struct pollset **at)
{
    struct pollset *s = *at;
    if (s) {
        *at = s->next;
        kept_count--;
    }
    return s;
}

static struct pollset *kept_take(const void *owner)
{
    if (atomic_flag_test_and_set(&kept_held))
        return NULL;
    struct pollset **at = &kept;
    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    struct pollset *s = kept_remove(at);
    atomic_flag_clear(&kept_held);
    return s;
}

struct pollset *pollset_take(const struct pollfd *fds, nfds_t count)
{
    const void *owner = self_green();
    struct pollset *s = kept_take(owner);
    if (!s)
        s = set_new();
    if (!s)
        return NULL;
    s->owner = owner;
    enum told told = set_lives(s) ? set_update(s, fds, count) : TOLD_STALE;
    if (told == TOLD_STALE)
        told = set_renew(s, fds, count);
    if (told == TOLD)
        return s;
    set_delete(s);
    return NULL;
}

/* The one that has not been used for longest makes room. */
void pollset_give_back(struct pollset *s)
{
    struct pollset *oldest = NULL;
    if (atomic_flag_test_and_set(&kept_held)) {
        set_delete(s);
        return;
    }
    if (kept_count == KEPT) {
        struct pollset **at = &kept;
        while ((*at)->next)
            at = &(*at)->next;
        oldest = kept_remove(at);
    }
    s->next = kept;
    kept = s;
    kept_count++;
    atomic_flag_clear(&kept_held);
    if (oldest)
        set_delete(oldest);
}
