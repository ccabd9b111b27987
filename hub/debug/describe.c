#include "hub/debug/describe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "coro/decimal.h"
#include "coro/sys.h"
#include "hub/debug/calls.h"
#include "hub/debug/capture.h"
#include "hub/debug/peek.h"
#include "hub/debug/symbols.h"
#include "hub/debug/unwind.h"
#include "hub/debug/words.h"

enum { FRAMES = 64, OWNERS = 64 };

/* ---- Descriptors ------------------------------------------------------------------------------ */

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

static void put_in6(struct put *p, const struct in6_addr *a)
{
    /* Groups of zeros are left as they are: that is legible, and short to do. */
    for (int i = 0; i < 16; i += 2) {
        unsigned group = (unsigned)a->s6_addr[i] << 8 | a->s6_addr[i + 1];
        bool begun = false;
        put_text(p, i ? ":" : "");
        for (int shift = 12; shift >= 0; shift -= 4) {
            unsigned digit = group >> shift & 15;
            begun |= digit || shift == 0;
            if (begun)
                put_char(p, "0123456789abcdef"[digit]);
        }
    }
}

static void put_address(struct put *p, const union address *a, size_t length)
{
    switch (a->any.sa_family) {
    case AF_INET: {
        uint32_t ip = ntohl(a->in.sin_addr.s_addr);
        for (int shift = 24; shift >= 0; shift -= 8) {
            put_number(p, ip >> shift & 255);
            put_text(p, shift ? "." : ":");
        }
        put_number(p, ntohs(a->in.sin_port));
        break;
    }
    case AF_INET6:
        put_char(p, '[');
        put_in6(p, &a->in6.sin6_addr);
        put_text(p, "]:");
        put_number(p, ntohs(a->in6.sin6_port));
        break;
    case AF_UNIX: {
        size_t n = length > offsetof(struct sockaddr_un, sun_path)
                       ? length - offsetof(struct sockaddr_un, sun_path) : 0;
        put_text(p, n ? "unix:" : "unix");
        for (size_t i = 0; i < n && (a->un.sun_path[i] || i == 0); i++) {
            char c = a->un.sun_path[i];
            put_char(p, i == 0 && !c ? '@' : c < ' ' || c > '~' ? '?' : c);
        }
        break;
    }
    default:
        put_text(p, "a socket");
    }
}

static bool put_socket(struct put *p, int fd)
{
    union address a;
    socklen_t length = sizeof a;
    int listens = 0;
    socklen_t size = sizeof listens;
    if (sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size))
        return false;
    memset(&a, 0, sizeof a);
    if (listens || sys_3(SYS_getpeername, fd, &a, &length)) {
        length = sizeof a;
        if (sys_3(SYS_getsockname, fd, &a, &length))
            return false;
        put_text(p, listens ? "(listens on " : "(");
    } else {
        put_text(p, "(peer ");
    }
    put_address(p, &a, length < sizeof a ? length : sizeof a);
    put_char(p, ')');
    return true;
}

void describe_descriptor(struct put *p, int fd)
{
    char path[48] = "/proc/thread-self/fd/", target[256];
    if (fd < 0 || put_socket(p, fd))
        return;
    decimal_path(path, (uint64_t)fd, "");
    long got = sys_4(SYS_readlinkat, AT_FDCWD, path, target, sizeof target - 1);
    if (got <= 0)
        return;
    target[got] = 0;
    put_char(p, '(');
    put_name(p, target);
    put_char(p, ')');
}

/* ---- Objects and their owners ------------------------------------------------------------------ */

void describe_object(struct put *p, uintptr_t address)
{
    put_hex(p, address);
    const struct symbol *s = symbol_of(address);
    if (!s->module || !s->name[0])
        return;
    put_text(p, " <");
    put_name(p, s->name);
    if (s->offset) {
        put_char(p, '+');
        put_hex(p, s->offset);
    }
    put_char(p, '>');
}

/* Which green thread libc's id belongs to; the last few answers are remembered, because who holds a
 * lock that many wait for is asked about many times. */
static bool green_of_tid(pid_t tid, struct green_look *look)
{
    static struct {
        pid_t tid;
        struct green *green;
        uint64_t id;
    } owners[OWNERS];
    unsigned slot = (unsigned)tid % OWNERS;
    if (owners[slot].tid == tid) {
        look_at(owners[slot].green, look);
        if (look->id == owners[slot].id && look->tid == tid && look->state != LOOK_ENDED)
            return true;
    }
    if (!green_find(0, tid, look))
        return false;
    owners[slot].tid = tid;
    owners[slot].green = look->green;
    owners[slot].id = look->id;
    return true;
}

/* The third word of struct __pthread_mutex_s, behind the lock and the count. */
static pid_t owner_of(const void *mutex)
{
    int words[3];
    return peek(words, (uintptr_t)mutex, sizeof words) ? words[2] : 0;
}

bool describe_owner_look(const void *mutex, struct green_look *owner)
{
    pid_t tid = owner_of(mutex);
    return tid && green_of_tid(tid, owner);
}

pid_t describe_owner(const void *mutex, uint64_t *green)
{
    struct green_look look;
    pid_t tid = owner_of(mutex);
    *green = tid && green_of_tid(tid, &look) ? look.id : 0;
    return tid;
}

static void put_owner(struct put *p, const void *mutex)
{
    uint64_t id;
    pid_t owner = describe_owner(mutex, &id);
    if (!owner)
        return;
    put_text(p, id ? ", held by " : ", held by thread ");
    put_number(p, id ? id : (uint64_t)owner);
}

void describe_wait(struct put *p, const struct green_look *l, int64_t now)
{
    uintptr_t object = (uintptr_t)l->object;
    if (l->waits_for == WAIT_NOTHING || l->state == LOOK_RUNNING || l->state == LOOK_DETACHED)
        return;
    put_text(p, words_wait(l->waits_for));
    switch (l->waits_for) {
    case WAIT_FD:
    case WAIT_POLL:
        put_char(p, ' ');
        put_number(p, object);
        put_char(p, ' ');
        describe_descriptor(p, (int)object);
        break;
    case WAIT_JOIN: {
        struct green_look other;
        look_at((struct green *)object, &other);
        put_char(p, ' ');
        put_number(p, other.id);
        break;
    }
    case WAIT_SLEEP:
    case WAIT_OFFLOAD:
    case WAIT_DNS:
    case WAIT_SIGNALS:
    case WAIT_CHILD:
        break;
    default:
        put_char(p, ' ');
        describe_object(p, object);
    }
    if (l->waits_for == WAIT_MUTEX)
        put_owner(p, l->object);
    if (l->since) {
        put_text(p, ", for ");
        put_seconds(p, now - l->since, 3);
        put_text(p, " s");
    }
    if (l->deadline != DEADLINE_NEVER) {
        put_text(p, ", at most ");
        put_seconds(p, l->deadline > now ? l->deadline - now : 0, 3);
        put_text(p, " s more");
    }
}

/* ---- Stacks ------------------------------------------------------------------------------------ */

static bool frame_is_ours(uintptr_t pc)
{
    const struct module *m = module_of(pc);
    return m && m->ours;
}

void describe_frames(struct put *p, const uintptr_t *pcs, size_t n, const char *indent)
{
    size_t first = 0, shown = 0;
    while (first + 1 < n && frame_is_ours(pcs[first]) && frame_is_ours(pcs[first + 1]))
        first++;
    for (size_t i = first; i < n; i++) {
        if (i > first && frame_is_ours(pcs[i]))
            continue;
        const struct symbol *s = symbol_of(pcs[i]);
        put_room(p, 400);
        put_text(p, indent);
        put_char(p, '#');
        put_number(p, shown);
        put_text(p, shown < 10 ? "  " : " ");
        shown++;
        put_hex(p, pcs[i]);
        put_text(p, " in ");
        put_name(p, s->name[0] ? s->name : "??");
        if (s->name[0]) {
            put_char(p, '+');
            put_hex(p, s->offset);
        }
        if (s->module) {
            put_text(p, " (");
            put_name(p, module_base(s->module));
            if (!s->name[0]) {
                put_char(p, '+');
                put_hex(p, pcs[i] - s->module->bias);
            }
            put_char(p, ')');
        }
        put_char(p, '\n');
    }
}

void describe_stack(struct put *p, const struct green_look *l, const char *indent)
{
    static uintptr_t pcs[FRAMES];
    struct unwind_regs regs;
    struct capture_call call = {.number = -1};
    size_t n = 0;
    bool stopped = l->state == LOOK_PARKED || l->state == LOOK_RUNNABLE;
    if (stopped ? unwind_suspended(l->green, &regs)
                : l->os_thread && capture(l->os_thread, &regs, &call))
        n = unwind_walk(&regs, pcs, FRAMES);
    bool same = look_holds(l);
    if (!stopped)
        capture_release();
    if (!n || !same) {
        put_text(p, indent);
        put_text(p, same ? "(its stack cannot be read)\n" : "(went on meanwhile)\n");
        return;
    }
    if (call.number >= 0) {
        put_text(p, indent);
        put_text(p, "in the system call ");
        calls_put(p, call.number);
        put_char(p, '\n');
    }
    describe_frames(p, pcs, n, indent);
}

/* ---- The table ---------------------------------------------------------------------------------- */

void describe_heading(struct put *p)
{
    put_text(p, "    id  name             state               waits for\n");
}

void describe_line(struct put *p, const struct green_look *l, int64_t now)
{
    size_t from = put_room(p, 1024);
    for (uint64_t bound = 100000; bound > 1 && l->id < bound; bound /= 10)
        put_char(p, ' ');
    put_number(p, l->id);
    put_pad(p, from, 8);
    put_name(p, l->name);
    put_pad(p, from, 25);
    put_text(p, words_state(l->state));
    if (l->os_thread) {
        put_text(p, " on ");
        put_number(p, (uint64_t)l->os_thread);
    }
    put_pad(p, from, 45);
    describe_wait(p, l, now);
    while (p->used > from && p->text[p->used - 1] == ' ')
        p->used--;
    put_char(p, '\n');
}
