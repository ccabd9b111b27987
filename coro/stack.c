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
#endif

enum {
    PAGE = 4096,
    HUGE = 2 << 20,
    OPEN_BYTES = 1 << 20, /* address space made accessible at once: mlockall() makes it resident */
    FIRST_SLAB = 64,      /* regions in a class's first slab; each next slab is twice as large */
    LARGEST_SLAB = 65536,
    EXACT_CLASSES = 64, /* distinct sizes that are served exactly; later ones are rounded up */
    KEEP_WARM = 32,     /* free regions of a class that are never trimmed */
    LEAST_STACK = 2048, /* a stack with less than this is refused */
    LINE = 64,          /* of the processor's cache */
    COLOURS = 16,       /* places of a block in its page, so that blocks spread over the cache */
    MAPS_DEFAULT = 65530,
};

/* Address space for regions of one class. Regions are cut from the low end. Under the lock. */
struct slab {
    struct slab *next;
    char *base;
    size_t capacity; /* regions that fit */
    size_t opened;   /* regions that are accessible */
    size_t cut;      /* regions handed out at least once */
};

/* Regions of one size. Under the lock, but for the sizes, which never change.
 * The free list runs from the newest to the oldest; trimmed regions are its old end. */
struct stack_class {
    struct stack_class *next;
    size_t stack; /* bytes from the guard to what is ours */
    size_t guard;
    size_t stride; /* bytes of a region in all */
    struct slab *slabs; /* the one that regions are cut from comes first */
    size_t next_capacity;
    struct region *newest;
    struct region *oldest;
    struct region *coldest_warm; /* oldest one that is not trimmed */
    size_t warm;                 /* free and not trimmed */
    size_t idle;                 /* least value of `warm` since the last trim */
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
        *s = (struct slab){.next = c->slabs, .base = base, .capacity = capacity};
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
    if (!r)
        return NULL;
    c->newest = r->older;
    if (c->newest)
        c->newest->newer = NULL;
    else
        c->oldest = NULL;
    if (c->coldest_warm == r)
        c->coldest_warm = NULL;
    if (!r->trimmed && --c->warm < c->idle)
        c->idle = c->warm;
    r->trimmed = false;
    return r;
}

static void free_push(struct stack_class *c, struct region *r)
{
    r->newer = NULL;
    r->older = c->newest;
    if (c->newest)
        c->newest->newer = r;
    else
        c->oldest = r;
    c->newest = r;
    if (!c->coldest_warm)
        c->coldest_warm = r;
    c->warm++;
}

/* Take out the free region that was not used for the longest time, unless few are free or all of
 * the others were needed since the last trim. */
static struct region *free_pop_idle(struct stack_class *c)
{
    struct region *r = c->coldest_warm;
    if (!r || c->idle <= KEEP_WARM)
        return NULL;
    c->coldest_warm = r->newer;
    *(r->newer ? &r->newer->older : &c->newest) = r->older;
    *(r->older ? &r->older->newer : &c->oldest) = r->newer;
    c->warm--;
    c->idle--;
    return r;
}

/* Put a trimmed region back, in front of the other trimmed ones. */
static void free_push_trimmed(struct stack_class *c, struct region *r)
{
    r->trimmed = true;
    r->newer = c->coldest_warm;
    r->older = r->newer ? r->newer->older : c->newest;
    *(r->newer ? &r->newer->older : &c->newest) = r;
    *(r->older ? &r->older->newer : &c->oldest) = r;
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
        if (c && !(r = free_pop(c)))
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

/* One region at a time is out of the list while the kernel works on it, without the lock. */
size_t stack_trim(size_t budget)
{
    size_t trimmed = 0;
    lock_acquire(&state.lock);
    for (struct stack_class *c = state.classes; c; c = c->next) {
        struct region *r;
        while (trimmed < budget && (r = free_pop_idle(c)) != NULL) {
            lock_release(&state.lock);
            /* Of static TLS only what libraries have taken is kept, not the surplus. */
            char *keep = (char *)((r->tp - libc_tcb_used_below()) & ~(uintptr_t)(PAGE - 1));
            if (keep > r->low)
                madvise(r->low, (size_t)(keep - r->low), MADV_DONTNEED);
            trimmed++;
            lock_acquire(&state.lock);
            free_push_trimmed(c, r);
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
                struct region *r = region_at(c, s, i);
                if (r->made)
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
