/* "b was taken while a was held" is an edge from a to b. A new edge that closes a circle is a warning.
 *
 * Locks that a thread holds form a chain, the last one first; its head is all that lies in the
 * thread's own storage. A thread that ends with a lock held leaves its links behind.
 */
#include "hub/debug/lockorder.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coro/lock.h"
#include "hub/debug/describe.h"
#include "hub/debug/report.h"
#include "preload/patch.h"

enum { LINKS = 1 << 14, EDGES = 1 << 13, EDGES_FULL = EDGES / 2, DEPTH = 8 };

struct link {
    const void *lock;
    void *place;
    struct link *next; /* held before; or the next free one */
};

struct edge {
    const void *from, *to; /* NULL: no edge; from == to: one that was forgotten */
    void *place;           /* where `to` was taken */
};

bool lockorder_on;

/* Guards all but the chains' heads. */
static struct lock order_lock;
static struct link links[LINKS], *link_free;
static unsigned links_used;
static struct edge edges[EDGES];
static unsigned edges_used;

static __thread struct link *held __attribute__((tls_model("initial-exec")));

void lockorder_start(void)
{
    lockorder_on = true;
    patch_special = 1; /* the wrappers' fast paths are off */
}

/* ---- Edges: under order_lock --------------------------------------------------------------------- */

static unsigned edge_slot(const void *from, const void *to)
{
    uint64_t key = (uintptr_t)from * 3 + (uintptr_t)to;
    unsigned slot = (unsigned)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 51);
    _Static_assert(EDGES == 1 << 13, "the hash gives thirteen bits");
    while (edges[slot].from && (edges[slot].from != from || edges[slot].to != to))
        slot = (slot + 1) % EDGES;
    return slot;
}

/* A way from `from` to `to` along edges, in path[]; its length, 0: none. */
static unsigned path_find(const void *from, const void *to, const struct edge **path, unsigned depth)
{
    if (depth == DEPTH)
        return 0;
    for (unsigned i = 0; i < EDGES; i++) {
        if (edges[i].from != from || edges[i].to == from)
            continue;
        path[depth] = &edges[i];
        if (edges[i].to == to)
            return depth + 1;
        unsigned length = path_find(edges[i].to, to, path, depth + 1);
        if (length)
            return length;
    }
    return 0;
}

struct order_job {
    struct edge path[DEPTH + 1];
    unsigned length;
};

static void order_say(void *arg)
{
    static struct put p;
    const struct order_job *job = arg;
    report_begin();
    put_start(&p, 2);
    put_text(&p, "libgreen: warning: locks are taken in orders that can deadlock:\n");
    for (unsigned i = 0; i < job->length; i++) {
        put_text(&p, "  mutex ");
        describe_object(&p, (uintptr_t)job->path[i].to);
        put_text(&p, " while holding ");
        describe_object(&p, (uintptr_t)job->path[i].from);
        put_text(&p, ", at ");
        describe_object(&p, (uintptr_t)job->path[i].place - 1);
        put_char(&p, '\n');
    }
    put_flush(&p);
}

/* Adds the edge; true when it is new and closes a circle, which is then in *job. */
static bool edge_add(const void *from, const void *to, void *place, struct order_job *job)
{
    unsigned slot = edge_slot(from, to);
    if (edges[slot].from || edges_used == EDGES_FULL)
        return false;
    const struct edge *path[DEPTH];
    unsigned length = path_find(to, from, path, 0);
    edges[slot] = (struct edge){.from = from, .to = to, .place = place};
    edges_used++;
    if (!length)
        return false;
    job->length = length + 1;
    job->path[0] = edges[slot];
    for (unsigned i = 0; i < length; i++)
        job->path[i + 1] = *path[i];
    return true;
}

/* ---- What threads do ----------------------------------------------------------------------------- */

void lockorder_wants(const void *lock, void *place)
{
    struct order_job job;
    for (const struct link *l = held; l; l = l->next)
        if (l->lock == lock)
            return; /* a recursive one again */
    for (const struct link *l = held; l; l = l->next) {
        lock_acquire(&order_lock);
        bool warn = edge_add(l->lock, lock, place, &job);
        lock_release(&order_lock);
        if (warn)
            report_run(order_say, &job, true);
    }
}

void lockorder_taken(const void *lock, void *place)
{
    lock_acquire(&order_lock);
    struct link *l = link_free;
    if (l)
        link_free = l->next;
    else if (links_used < LINKS)
        l = &links[links_used++];
    lock_release(&order_lock);
    if (!l)
        return;
    *l = (struct link){lock, place, held};
    held = l;
}

void lockorder_released(const void *lock)
{
    struct link **slot = &held;
    while (*slot && (*slot)->lock != lock)
        slot = &(*slot)->next;
    struct link *l = *slot;
    if (!l)
        return;
    *slot = l->next;
    lock_acquire(&order_lock);
    l->next = link_free;
    link_free = l;
    lock_release(&order_lock);
}

void lockorder_forget(const void *lock)
{
    lock_acquire(&order_lock);
    for (unsigned i = 0; i < EDGES && edges_used; i++)
        if (edges[i].from == lock || edges[i].to == lock)
            edges[i].to = edges[i].from; /* keeps its place in the table */
    lock_release(&order_lock);
}

void lockorder_fork(void)
{
    lock_init(&order_lock);
}
