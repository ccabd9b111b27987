#include "hub/debug/trace_ring.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "coro/sys.h"
#include "hub/green.h"
#include "hub/look.h"
#include "hub/tick.h"

enum { HUBS = 256, RECORDS = 1 << 15 };

/* The first line is the holder's of the hub, the second the taker's. */
struct ring {
    _Atomic uint64_t head;
    uint64_t room; /* head may come so far before `tail` is looked at again */
    _Atomic uint64_t lost;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) struct trace_record records[RECORDS];
};

static struct ring *_Atomic rings[HUBS]; /* immutable once set */

static _Atomic int ring_wanted; /* a futex: the taker should come, 1 */

/* NULL: no memory. */
static __attribute__((noinline, cold)) struct ring *ring_new(unsigned hub)
{
    long at = sys_6(SYS_mmap, NULL, sizeof(struct ring), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096)
        return NULL;
    atomic_store_explicit(&rings[hub], (struct ring *)at, memory_order_release);
    return (struct ring *)at;
}

bool ring_make(void)
{
    struct hub_look h;
    for (unsigned i = 0; i < HUBS && hub_look_at(i, &h); i++)
        if (!atomic_load(&rings[i]) && !ring_new(i))
            return false;
    return true;
}

/* ---- By who holds the hub -------------------------------------------------------------------- */

/* There is room for more when the taker has been there since; one who sleeps is called when it
 * is half gone. */
static __attribute__((noinline)) bool ring_has_room(struct ring *r, uint64_t head)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (head - tail >= RECORDS / 2 && !atomic_exchange(&ring_wanted, 1))
        sys_6(SYS_futex, &ring_wanted, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    r->room = tail + (head - tail >= RECORDS / 2 ? RECORDS : RECORDS / 2);
    if (head != r->room)
        return true;
    atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
    return false;
}

static inline void ring_put(unsigned hub, uint64_t a, uint64_t b, uint64_t c)
{
    struct ring *r = atomic_load_explicit(&rings[hub], memory_order_acquire);
    if (__builtin_expect(!r, 0) && !(r = ring_new(hub))) /* of a hub that was made since */
        return;
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (__builtin_expect(head == r->room, 0) && !ring_has_room(r, head))
        return;
    r->records[head % RECORDS] = (struct trace_record){{a, b, c}};
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

static void ring_name(unsigned hub, const struct green *g)
{
    uint64_t words[2];
    memcpy(words, g->name, sizeof words);
    ring_put(hub, words[1] << RECORD_TIME_SHIFT | RECORD_NAME, g->id, words[0]);
}

void ring_switched(unsigned hub, struct green *left, bool ended, struct green *next)
{
    uint64_t now = tick_now(), how = RECORD_SWITCH, who = 0, object = 0;
    if (left) {
        if (__builtin_expect(left->switches <= 1 || ended, 0))
            ring_name(hub, left);
        how |= ended ? RECORD_LEFT | RECORD_ENDED : RECORD_LEFT;
        who = (uint64_t)left->waits_for << RECORD_ID_BITS;
        object = (uintptr_t)left->wait_object;
    }
    if (next) {
        how |= next->switches <= 1 ? RECORD_FIRST : 0;
        who |= next->id | trace_pack(now - next->woken_at) << RECORD_WOKEN_SHIFT;
    }
    ring_put(hub, now << RECORD_TIME_SHIFT | how, who, object);
}

void ring_handed_off(unsigned hub, struct green *g)
{
    ring_put(hub, tick_now() << RECORD_TIME_SHIFT | RECORD_HANDOFF, g->id, 0);
}

/* ---- By who takes ---------------------------------------------------------------------------- */

bool ring_look(unsigned hub, struct ring_part *part)
{
    for (; hub < HUBS; hub++) {
        struct ring *r = atomic_load(&rings[hub]);
        if (!r)
            continue;
        /* What was lost until now came after what is there: the ring was full. */
        uint64_t lost = atomic_exchange(&r->lost, 0);
        uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
        if (head == tail && !lost)
            continue;
        size_t count = (size_t)(head - tail), first = RECORDS - tail % RECORDS;
        if (first > count)
            first = count;
        *part = (struct ring_part){.hub = hub, .at = {&r->records[tail % RECORDS], r->records},
                                   .count = {first, count - first}, .lost = lost};
        return true;
    }
    return false;
}

void ring_taken(const struct ring_part *part)
{
    struct ring *r = atomic_load(&rings[part->hub]);
    atomic_fetch_add_explicit(&r->tail, part->count[0] + part->count[1], memory_order_release);
}

void ring_wait(int64_t ns)
{
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    sys_6(SYS_futex, &ring_wanted, FUTEX_WAIT_PRIVATE, 0, &ts, 0, 0);
    atomic_store(&ring_wanted, 0);
}

void ring_forget(void)
{
    atomic_store(&ring_wanted, 0);
    for (unsigned i = 0; i < HUBS; i++) {
        struct ring *r = atomic_load(&rings[i]);
        if (r) {
            atomic_store(&r->tail, atomic_load(&r->head));
            atomic_store(&r->lost, 0);
        }
    }
}
