#include "coro/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "coro/libc.h"
#include "coro/lock.h"
#include "coro/sys.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum {
    PAGE = 4096,
    HUGE = 2 << 20,
    OPEN_BYTES = 1 << 20, /* address space made accessible at once: mlockall() makes it resident */
    FIRST_SLAB = 64,      /* regions in a class's first slab; each next slab is twice as large */
    LARGEST_SLAB = 65536,
    EXACT_CLASSES = 64, /* distinct sizes that are served exactly; later ones are rounded up */
    KEEP_WARM = 32,     /* free regions of a class that are never given back */
    LEAST_STACK = 2048, /* a stack with less than this is refused */
    LINE = 64,          /* of the processor's cache */
    COLOURS = 16,       /* places of a block in its page, so that blocks spread over the cache */
    MAPS_DEFAULT = 65530,
};

/* Address space for regions of one class. Regions are cut from the low end. Under the lock, but for
 * the second group, which never changes. */
struct slab {
    struct slab *next; /* of the class */
    size_t opened;     /* regions that are accessible */
    size_t cut;        /* regions handed out at least once */
    uint64_t *bare;    /* a bit for each: it was given back, and is as if it had not been cut yet */
    size_t bare_count;
    size_t bare_from;    /* no word before this one has a bit */
    uint64_t *unguarded; /* a bit for each bare one whose guard went, too */

    struct slab *older; /* of all */
    char *base;
    size_t length;   /* in bytes */
    size_t capacity; /* regions that fit */
};

/* Regions of one size. Under the lock, but for the sizes, which never change.
 * The free list runs from the newest to the oldest. */
struct stack_class {
    struct stack_class *next;
    size_t stack; /* bytes from the guard to what is ours */
    size_t guard;
    size_t stride; /* bytes of a region in all */
    struct slab *slabs; /* the one that regions are cut from comes first */
    size_t next_capacity;
    struct region *newest;
    struct region *oldest;
    struct region *locked; /* free ones whose memory the kernel does not take back; linked by `older` */
    size_t warm;           /* length of the free list */
    size_t idle;           /* least value of `warm` since the last trim */
};

/* Under `lock`, but for the first group, which is written once at the first use. */
static struct {
    struct lock lock;
    size_t extra;  /* the caller's bytes, rounded */
    size_t ours;   /* bytes that a region has above what the program asked for */
    size_t block;  /* bytes from the stack's top to the end of the region, at most */
    int prot; /* changes once at most, under the lock */

    struct stack_class *classes;
    struct stack_class *recent; /* the one used last: programs have one or two sizes */
    size_t class_count;
    bool guard_install;  /* the kernel has MADV_GUARD_INSTALL */
    size_t maps_left;    /* mappings that guards made by mprotect may still use */
    char *meta, *meta_end; /* memory for classes and slabs, never given back */
    struct slab *_Atomic slabs; /* all of them, a parent's before fork() too; only added to */
} state;

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

static size_t read_max_map_count(void)
{
    char text[32] = "";
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return MAPS_DEFAULT;
    long n = sys_3(SYS_read, fd, text, sizeof text - 1);
    sys_1(SYS_close, fd);
    size_t count = 0;
    for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        count = count * 10 + (size_t)(text[i] - '0');
    return count ? count : MAPS_DEFAULT;
}

/* A probe page says whether the kernel can guard without a mapping of its own. A system call tries
 * to write there, because emulators accept advice that they do not know. */
static bool kernel_has_guard_install(void)
{
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    bool has = sys_3(SYS_madvise, p, PAGE, MADV_GUARD_INSTALL) == 0 &&
               sys_3(SYS_getrandom, p, 1, GRND_NONBLOCK) == -EFAULT;
    munmap(p, PAGE);
    return has;
}

void stack_start(bool without_guard_install)
{
    lock_init(&state.lock);
    state.prot = PROT_READ | PROT_WRITE | (libc_stacks_executable() ? PROT_EXEC : 0);
    state.guard_install = !without_guard_install && kernel_has_guard_install();
    /* The other half of the mappings is the program's. */
    state.maps_left = read_max_map_count() / 2;
}

static void *meta_alloc(size_t size)
{
    enum { CHUNK = 16 * PAGE };
    if ((size_t)(state.meta_end - state.meta) < size) {
        void *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        state.meta = p;
        state.meta_end = state.meta + CHUNK;
    }
    void *p = state.meta;
    state.meta += size;
    return p;
}

/* ---- classes ------------------------------------------------------------------------------- */

/* The next of eight steps per power of two, so that sizes which differ a little share a class. */
static size_t coarse(size_t n)
{
    if (n <= 8 * PAGE)
        return n;
    size_t step = (size_t)1 << (60 - __builtin_clzl(n - 1));
    return round_up(n, step < PAGE ? PAGE : step);
}

static struct stack_class *class_look_up(size_t stack, size_t guard)
{
    struct stack_class *c = state.recent;
    if (c && c->stack == stack && c->guard == guard)
        return c;
    for (c = state.classes; c; c = c->next)
        if (c->stack == stack && c->guard == guard)
            return state.recent = c;
    return NULL;
}

/* The class for `stack` bytes under the program's control and `guard`; both whole pages. */
static struct stack_class *class_for(size_t stack, size_t guard)
{
    struct stack_class *c = class_look_up(stack, guard);
    if (c)
        return c;
    if (state.class_count >= EXACT_CLASSES) {
        stack = coarse(stack);
        guard = coarse(guard);
        if ((c = class_look_up(stack, guard)) != NULL)
            return c;
    }
    c = meta_alloc(sizeof *c);
    if (!c)
        return NULL;
    *c = (struct stack_class){
        .next = state.classes,
        .stack = stack,
        .guard = guard,
        .stride = guard + stack + state.ours,
        .next_capacity = FIRST_SLAB,
    };
    state.classes = c;
    state.class_count++;
    return state.recent = c;
}

/* ---- slabs --------------------------------------------------------------------------------- */

/* Reserve address space for at most `capacity` regions; fewer where a limit forbids so many. */
static struct slab *slab_make(struct stack_class *c)
{
    struct slab *s = meta_alloc(sizeof *s);
    if (!s)
        return NULL;
    for (size_t capacity = c->next_capacity; capacity > 0; capacity /= 2) {
        size_t length;
        if (__builtin_mul_overflow(capacity, c->stride, &length) || length + PAGE < length)
            continue;
        char *base = mmap(NULL, length + PAGE, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (base == MAP_FAILED)
            continue;
        /* A huge page would make the memory of many idle stacks resident at the first touch. */
        madvise(base, length + PAGE, MADV_NOHUGEPAGE);
        /* A guard and the top of the region below it share a page-table page, unless regions meet
         * where page-table pages do. */
        if ((uintptr_t)base % HUGE == 0)
            base += PAGE;
        *s = (struct slab){.next = c->slabs, .base = base, .length = length, .capacity = capacity};
        size_t words = (capacity + 63) / 64;
        s->bare = meta_alloc(2 * words * sizeof *s->bare);
        if (!s->bare)
            break;
        s->unguarded = s->bare + words;
        s->older = atomic_load(&state.slabs);
        atomic_store(&state.slabs, s);
        c->slabs = s;
        if (capacity == c->next_capacity && capacity < LARGEST_SLAB)
            c->next_capacity *= 2;
        return s;
    }
    errno = ENOMEM;
    return NULL;
}

/* Make the next regions of a slab accessible. Where the kernel's own guards are missing, that is one
 * region at a time, whose guard stays inaccessible as long as the count of mappings allows. */
static bool slab_open(struct stack_class *c, struct slab *s)
{
    char *from = s->base + s->opened * c->stride;
    if (c->guard && !state.guard_install && state.maps_left >= 2) {
        if (mprotect(from + c->guard, c->stride - c->guard, state.prot) == 0) {
            state.maps_left -= 2;
            s->opened++;
            return true;
        }
        state.maps_left = 0; /* too many mappings: a stack without a guard is better than none */
    }
    size_t count = OPEN_BYTES / c->stride;
    if (count == 0)
        count = 1;
    if (count > s->capacity - s->opened)
        count = s->capacity - s->opened;
    if (mprotect(from, count * c->stride, state.prot) != 0)
        return false;
    s->opened += count;
    return true;
}

/* Guard the low end of a region that was opened as a whole. EINVAL: the memory is locked. */
static void guard_install(char *base, size_t size)
{
    if (sys_3(SYS_madvise, base, size, MADV_GUARD_INSTALL) == 0 || state.maps_left < 2)
        return;
    if (sys_3(SYS_mprotect, base, size, PROT_NONE) == 0)
        state.maps_left -= 2;
}

/* Number `i` of a slab. */
static struct region *region_at(const struct stack_class *c, const struct slab *s, size_t i)
{
    char *end = s->base + (i + 1) * c->stride;
    return (struct region *)(void *)(end - i % COLOURS * LINE - state.extra - sizeof(struct coro) -
                                     sizeof(struct region));
}

static struct region *region_place(struct stack_class *c, const struct slab *s, size_t i)
{
    struct region *r = region_at(c, s, i);
    char *base = s->base + i * c->stride;
    r->class = c;
    r->tp = ((uintptr_t)r - libc_tcb_above()) & ~(libc_tcb_align() - 1);
    r->low = base + c->guard;
    r->top = (char *)((r->tp - libc_tcb_below()) & ~(uintptr_t)15);
    r->end = base + c->stride;
    return r;
}

static struct region *region_cut(struct stack_class *c)
{
    struct slab *s = c->slabs;
    if ((!s || s->cut == s->capacity) && !(s = slab_make(c)))
        return NULL;
    if (s->cut == s->opened && !slab_open(c, s))
        return NULL;
    if (c->guard && state.guard_install)
        guard_install(s->base + s->cut * c->stride, c->guard);
    return region_place(c, s, s->cut++);
}

/* ---- free regions -------------------------------------------------------------------------- */

static struct region *free_pop(struct stack_class *c)
{
    struct region *r = c->newest;
    if (!r) {
        if ((r = c->locked) != NULL)
            c->locked = r->older;
        return r;
    }
    c->newest = r->older;
    *(c->newest ? &c->newest->newer : &c->oldest) = NULL;
    if (--c->warm < c->idle)
        c->idle = c->warm;
    return r;
}

static void free_push(struct stack_class *c, struct region *r)
{
    r->newer = NULL;
    r->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = r;
    c->newest = r;
    c->warm++;
}

/* Take out the free region that was not used for the longest time, unless few are free or all of
 * the others were needed since the last trim. */
static struct region *free_pop_idle(struct stack_class *c)
{
    struct region *r = c->oldest;
    if (!r || c->idle <= KEEP_WARM)
        return NULL;
    c->oldest = r->newer;
    *(c->oldest ? &c->oldest->older : &c->newest) = NULL;
    c->warm--;
    c->idle--;
    return r;
}

/* ---- regions that were given back ---------------------------------------------------------- */

static bool bit_at(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static void bare_put(struct slab *s, size_t i)
{
    s->bare[i / 64] |= UINT64_C(1) << i % 64;
    s->bare_count++;
    if (s->bare_from > i / 64)
        s->bare_from = i / 64;
}

static void bare_remove(struct slab *s, size_t i)
{
    s->bare[i / 64] &= ~(UINT64_C(1) << i % 64);
    s->bare_count--;
}

static struct region *bare_pop(struct stack_class *c)
{
    struct slab *s = c->slabs;
    while (s && !s->bare_count)
        s = s->next;
    if (!s)
        return NULL;
    while (!s->bare[s->bare_from])
        s->bare_from++;
    size_t i = s->bare_from * 64 + (size_t)__builtin_ctzll(s->bare[s->bare_from]);
    bare_remove(s, i);
    if (bit_at(s->unguarded, i)) {
        guard_install(s->base + i * c->stride, c->guard);
        s->unguarded[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
    return region_place(c, s, i);
}

/* The page-table page for `at` and all around it. Where it maps bare regions only, it goes, and with it
 * the guards there: the kernel frees it (since Linux 6.14) when the range that it maps is given back as a
 * whole, and nothing stands in it. The lock is left meanwhile, with the regions in no list. */
static void table_give_back(struct stack_class *c, struct slab *s, const char *at)
{
    char *low = (char *)((uintptr_t)at & ~(uintptr_t)(HUGE - 1)), *end = low + HUGE;
    if (!state.guard_install || low < s->base || end > s->base + s->cut * c->stride)
        return;
    size_t first = (size_t)(low - s->base) / c->stride, last = (size_t)(end - 1 - s->base) / c->stride;
    for (size_t i = first; i <= last; i++)
        if (!bit_at(s->bare, i))
            return;
    for (size_t i = first; i <= last; i++)
        bare_remove(s, i);
    lock_release(&state.lock);
    for (size_t i = first; c->guard && i <= last; i++) {
        char *guard = s->base + i * c->stride;
        sys_3(SYS_madvise, guard, c->guard, MADV_GUARD_REMOVE);
    }
    sys_3(SYS_madvise, low, HUGE, MADV_DONTNEED);
    lock_acquire(&state.lock);
    for (size_t i = first; i <= last; i++) {
        bare_put(s, i);
        if (c->guard)
            s->unguarded[i / 64] |= UINT64_C(1) << i % 64;
    }
}

static void bare_push(struct stack_class *c, const struct region *r)
{
    struct slab *s = c->slabs;
    while ((size_t)((const char *)r - s->base) >= s->length)
        s = s->next;
    size_t i = (size_t)((const char *)r - s->base) / c->stride;
    const char *base = s->base + i * c->stride;
    bare_put(s, i);
    table_give_back(c, s, base);
    table_give_back(c, s, base + c->stride - 1);
}

/* All memory of a free region, its own description included, and what its control block has of
 * malloc's. False when the kernel keeps it because it is locked: then nothing has changed, as the end
 * of the region, where all that is, comes last. */
static bool region_give_back(const struct region *r, bool made)
{
    void *vector = made ? libc_tcb_vector(r->tp) : NULL;
    if (sys_3(SYS_madvise, r->low, r->end - r->low, MADV_DONTNEED) != 0)
        return false;
    libc_tcb_vector_free(vector);
    return true;
}

/* ---- what coro.c uses ---------------------------------------------------------------------- */

static void measure(size_t extra)
{
    if (state.block)
        return;
    state.extra = round_up(extra, 16);
    size_t ours = state.extra + sizeof(struct coro) + sizeof(struct region) + COLOURS * LINE;
    state.ours = round_up(ours, PAGE);
    state.block = ours + libc_tcb_above() + libc_tcb_below() + libc_tcb_align() + 16;
}

struct region *stack_take(const struct coro_attr *attr, size_t extra)
{
    size_t asked = 0;
    size_t guard = 0;
    lock_acquire(&state.lock);
    measure(extra);
    if (attr->stack_addr) {
        /* The program's memory is the stack: the region holds the control block only. */
        asked = round_up(state.block, PAGE) - state.ours;
    } else {
        asked = round_up(attr->stack_size, PAGE);
        guard = round_up(attr->guard_size, PAGE);
    }
    struct region *r = NULL;
    size_t sum;
    if (asked < attr->stack_size && !attr->stack_addr)
        errno = ENOMEM; /* it wrapped around */
    else if (guard < attr->guard_size && !attr->stack_addr)
        errno = ENOMEM;
    else if (__builtin_add_overflow(asked, guard, &sum) || sum > PTRDIFF_MAX / 2)
        errno = ENOMEM;
    else if (!attr->stack_addr && asked + state.ours < state.block + LEAST_STACK)
        errno = EINVAL;
    else {
        struct stack_class *c = class_for(asked, guard);
        if (c && !(r = free_pop(c)) && !(r = bare_pop(c)))
            r = region_cut(c);
    }
    lock_release(&state.lock);
    if (!r)
        return NULL;
    if (attr->stack_addr)
        r->seen = (struct coro_stack){attr->stack_addr, attr->stack_size, 0};
    else
        r->seen = (struct coro_stack){r->end - asked, asked, guard};
    return r;
}

void stack_give(struct region *r)
{
    lock_acquire(&state.lock);
    free_push(r->class, r);
    lock_release(&state.lock);
}

/* One region at a time is out of the list while the kernel and malloc work on it, without the lock. It
 * counts as not made then: stack_each() must not write where memory has just been given back. */
size_t stack_trim(size_t budget)
{
    size_t trimmed = 0;
    lock_acquire(&state.lock);
    for (struct stack_class *c = state.classes; c; c = c->next) {
        struct region *r;
        while (trimmed < budget && (r = free_pop_idle(c)) != NULL) {
            bool made = r->made;
            r->made = false;
            lock_release(&state.lock);
            bool gone = region_give_back(r, made);
            trimmed++;
            lock_acquire(&state.lock);
            if (gone) {
                bare_push(c, r);
            } else {
                r->made = made;
                r->older = c->locked;
                c->locked = r;
            }
        }
        if (trimmed < budget)
            c->idle = c->warm;
    }
    lock_release(&state.lock);
    return trimmed;
}

bool stack_trim_due(void)
{
    bool due = false;
    lock_acquire(&state.lock);
    for (struct stack_class *c = state.classes; c && !due; c = c->next)
        due = c->warm > KEEP_WARM;
    lock_release(&state.lock);
    return due;
}

/* Guards that are mappings of their own stay as they are. */
static void region_make_executable(const struct stack_class *c, const struct slab *s, size_t i)
{
    char *base = s->base + i * c->stride;
    mprotect(base + c->guard, c->stride - c->guard, state.prot);
}

void stack_make_executable(void)
{
    lock_acquire(&state.lock);
    bool already = state.prot & PROT_EXEC;
    state.prot |= PROT_EXEC;
    for (struct stack_class *c = already ? NULL : state.classes; c; c = c->next) {
        for (struct slab *s = c->slabs; s; s = s->next) {
            if (state.guard_install)
                mprotect(s->base, s->opened * c->stride, state.prot);
            else
                for (size_t i = 0; i < s->opened; i++)
                    region_make_executable(c, s, i);
        }
    }
    lock_release(&state.lock);
}

void stack_each(void (*f)(struct region *r, void *data), void *data)
{
    lock_acquire(&state.lock);
    for (struct stack_class *c = state.classes; c; c = c->next) {
        for (struct slab *s = c->slabs; s; s = s->next) {
            for (size_t i = 0; i < s->cut; i++) {
                struct region *r = bit_at(s->bare, i) ? NULL : region_at(c, s, i);
                if (r && r->made)
                    f(r, data);
            }
        }
    }
    lock_release(&state.lock);
}

/* Another thread of the parent may have been in the midst of a change to any of this, so all of it
 * starts again. What was made before stays where it is, and when given back lands in a free list
 * that nobody looks at. */
void stack_after_fork(void)
{
    lock_init(&state.lock);
    state.classes = state.recent = NULL;
    state.class_count = 0;
    state.meta = state.meta_end = NULL;
}

bool stack_has(uintptr_t address)
{
    const struct slab *s = atomic_load(&state.slabs);
    while (s && address - (uintptr_t)s->base >= s->length)
        s = s->older;
    return s != NULL;
}
