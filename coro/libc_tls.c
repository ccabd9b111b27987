#include "coro/libc_tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "coro/coro.h"
#include "coro/libc.h"
#include "coro/lock.h"
#include "coro/tid.h"

/* A library whose TLS has a fixed place in every block. */
struct module {
    ptrdiff_t place; /* from the thread pointer */
    const void *image;
    size_t image_size;
    size_t size;
    size_t generation;  /* a block made at or after this one, ... */
    size_t static_used; /* ... when at least so much static TLS was taken, has it */
    bool own;           /* libc's */
};

/* One entry of a thread's vector of TLS blocks. */
struct vector_entry {
    void *block;
    void *to_free; /* set if `block` came from malloc */
};

/* The dynamic linker's tables; written once by libc_tls_start(). The values behind the pointers
 * change under its locks and are read without: they only say when to look closer. */
static struct {
    const size_t *max_id;
    const size_t *static_used;
    const size_t *generation;
    const uint32_t *stack_flags; /* what stacks must be, as in a program header */
    void *const *slots; /* first struct dtv_slotinfo_list */
    size_t slots_next, slots_first, slot_size, slot_generation, slot_map;
    size_t map_offset;
    int (*dlinfo)(void *, int, void *);
    struct libc_list *stack_user; /* threads whose stacks are not libc's */
    struct lock *stack_lock;      /* guards it; libc's low-level lock works like ours */
} linker;

/* Under `lock`, which is taken before that of stack.c and behind the linker's own. `seen` is also
 * read without it. */
static struct {
    struct lock lock;
    struct module *modules;
    size_t count, capacity;
    struct libc_stamp seen;   /* what `modules` was made from */
    struct libc_stamp loaded; /* what all blocks have had since libc_tls_loaded() */
    bool dynamic;             /* there are, or were, libraries without a place in every block */
} tls;

static bool stamps_equal(const struct libc_stamp *a, const struct libc_stamp *b)
{
    return a->generation == b->generation && a->static_used == b->static_used;
}

void libc_tls_stamp(struct libc_stamp *stamp)
{
    stamp->generation = __atomic_load_n(linker.generation, __ATOMIC_ACQUIRE);
    stamp->static_used = __atomic_load_n(linker.static_used, __ATOMIC_ACQUIRE);
}

/* ---- which modules there are --------------------------------------------------------------- */

static struct module *module_add(void)
{
    if (tls.count == tls.capacity) {
        size_t old = tls.capacity * sizeof *tls.modules;
        size_t size = old ? 2 * old : 4096;
        struct module *m =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED)
            return NULL;
        if (old) {
            memcpy(m, tls.modules, old);
            munmap(tls.modules, old);
        }
        tls.modules = m;
        tls.capacity = size / sizeof *m;
    }
    return &tls.modules[tls.count++];
}

/* One library of the linker's table. */
static void scan_map(struct link_map *map, size_t generation)
{
    enum { NONE = 0, FORCED_DYNAMIC = -1 };
    ptrdiff_t offset = *(ptrdiff_t *)(void *)((char *)map + linker.map_offset);
    if (offset == NONE || offset == FORCED_DYNAMIC) {
        tls.dynamic = true;
        return;
    }
    const ElfW(Phdr) *headers = NULL;
    int count = linker.dlinfo(map, RTLD_DI_PHDR, &headers);
    for (int i = 0; i < count; i++) {
        const ElfW(Phdr) *h = &headers[i];
        struct module *m;
        if (h->p_type != PT_TLS || !(m = module_add()))
            continue;
#if defined(__x86_64__)
        m->place = -offset;
        m->static_used = (size_t)offset;
#else
        m->place = offset;
        m->static_used = (size_t)offset + h->p_memsz;
#endif
        m->image = (const void *)(map->l_addr + h->p_vaddr);
        m->image_size = h->p_filesz;
        m->size = h->p_memsz;
        m->generation = generation;
        uintptr_t mine = (uintptr_t)__builtin_thread_pointer() + (uintptr_t)m->place;
        m->own = (uintptr_t)&errno - mine < m->size;
    }
}

/* Runs under the linker's lock, so that no library goes while it is looked at. */
static int scan(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    lock_acquire(&tls.lock);
    struct libc_stamp now;
    libc_tls_stamp(&now);
    tls.count = 0;
    size_t last = __atomic_load_n(linker.max_id, __ATOMIC_ACQUIRE);
    size_t id = 0;
    for (char *list = *linker.slots; list && id <= last; list = *(char **)(void *)(list + linker.slots_next)) {
        size_t length = *(size_t *)(void *)list;
        for (size_t i = 0; i < length && id <= last; i++, id++) {
            char *slot = list + linker.slots_first + i * linker.slot_size;
            struct link_map *map = *(struct link_map **)(void *)(slot + linker.slot_map);
            size_t generation = *(size_t *)(void *)(slot + linker.slot_generation);
            if (map && generation <= now.generation)
                scan_map(map, generation);
        }
    }
    tls.seen = now;
    lock_release(&tls.lock);
    return 1;
}

/* Take the lock with `modules` up to date. */
static void modules_acquire(void)
{
    struct libc_stamp now;
    libc_tls_stamp(&now);
    if (__builtin_expect(!stamps_equal(&now, &tls.seen), 0))
        dl_iterate_phdr(scan, NULL);
    lock_acquire(&tls.lock);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static void module_init(const struct module *m, uintptr_t tp)
{
    char *to = (char *)tp + m->place;
    memcpy(to, m->image, m->image_size);
    memset(to + m->image_size, 0, m->size - m->image_size);
}

/* Under the lock: initialise what the block lacks, and say so. */
static void block_complete(uintptr_t tp, const struct libc_stamp *has)
{
    if (!stamps_equal(has, &tls.seen))
        for (size_t i = 0; i < tls.count; i++) {
            const struct module *m = &tls.modules[i];
            if (m->generation > has->generation || m->static_used > has->static_used)
                module_init(m, tp);
        }
    *libc_stamp_at(tp) = tls.seen;
}

void libc_tls_init_since(uintptr_t tp, const struct libc_stamp *since)
{
    modules_acquire();
    block_complete(tp, since);
    lock_release(&tls.lock);
}

static struct vector_entry *vector_at(uintptr_t tp)
{
    char *thread = (char *)libc_pthread_at(tp) - PTHREAD_HEADER;
    return *(struct vector_entry **)(void *)(thread + PTHREAD_DTV);
}

/* The blocks that a thread made for itself of libraries which have no place in every block. The
 * linker makes them again when they are used. */
static void dynamic_free(struct vector_entry *vector)
{
    size_t length = (size_t)vector[-1].block;
    for (size_t i = 1; i <= length; i++) {
        void *p = vector[i].to_free;
        if (!p)
            continue;
        vector[i].block = (void *)-1;
        vector[i].to_free = NULL;
        free(p);
    }
}

void libc_tls_renew(uintptr_t tp)
{
    modules_acquire();
    for (size_t i = 0; i < tls.count; i++)
        if (!tls.modules[i].own)
            module_init(&tls.modules[i], tp);
    *libc_stamp_at(tp) = tls.seen;
    bool dynamic = tls.dynamic;
    lock_release(&tls.lock);
    if (dynamic)
        dynamic_free(vector_at(tp));
}

void *libc_tcb_vector(uintptr_t tp)
{
    return vector_at(tp);
}

/* As _dl_deallocate_tls() does it, which asks for the block. */
void libc_tcb_vector_free(void *vector)
{
    if (!vector)
        return;
    dynamic_free(vector);
    free((struct vector_entry *)vector - 1);
}

bool libc_tls_own(uintptr_t tp, uintptr_t *low, uintptr_t *end)
{
    bool found = false;
    modules_acquire();
    for (size_t i = 0; i < tls.count; i++) {
        const struct module *m = &tls.modules[i];
        if (!m->own)
            continue;
        *low = tp + (uintptr_t)m->place;
        *end = *low + m->size;
        found = true;
    }
    lock_release(&tls.lock);
    return found;
}

bool libc_stacks_executable(void)
{
    return __atomic_load_n(linker.stack_flags, __ATOMIC_RELAXED) & PF_X;
}

/* ---- libraries loaded later ---------------------------------------------------------------- */

static bool is_listed(const struct libc_pthread *p)
{
    return p->list.next != &p->list;
}

/* Is this block a coroutine's, and has it the id that the kernel does not know? (A thread with a
 * real id must not be in libc's list twice: setuid() would wait for it for ever.) */
static bool may_be_listed(const struct libc_pthread *p)
{
    return p->user_stack && !is_listed(p) && p->tid > TID_KERNEL_MOST;
}

void libc_tls_loading(void)
{
    struct libc_pthread *self = libc_pthread_at((uintptr_t)__builtin_thread_pointer());
    if (!may_be_listed(self))
        return;
    lock_acquire(linker.stack_lock);
    struct libc_list *head = linker.stack_user;
    self->list = (struct libc_list){head->next, head};
    ((struct libc_list *)head->next)->prev = &self->list;
    head->next = &self->list;
    lock_release(linker.stack_lock);
}

static void unlist(struct libc_pthread *self)
{
    lock_acquire(linker.stack_lock);
    ((struct libc_list *)self->list.next)->prev = self->list.prev;
    ((struct libc_list *)self->list.prev)->next = self->list.next;
    self->list = (struct libc_list){&self->list, &self->list};
    lock_release(linker.stack_lock);
}

static void complete(uintptr_t tp, void *data)
{
    (void)data;
    struct libc_stamp has = *libc_stamp_at(tp);
    block_complete(tp, &has);
}

void libc_tls_loaded(void)
{
    uintptr_t tp = (uintptr_t)__builtin_thread_pointer();
    struct libc_pthread *self = libc_pthread_at(tp);
    /* A listed coroutine: the linker initialised its block. (In a forked child a former coroutine is
     * libc's main thread, and stays in the list.) */
    bool green = is_listed(self) && self->user_stack && self->tid > TID_KERNEL_MOST;
    modules_acquire();
    if (green)
        *libc_stamp_at(tp) = tls.seen;
    if (!stamps_equal(&tls.loaded, &tls.seen)) {
        coro_each_tp(complete, NULL);
        tls.loaded = tls.seen;
    }
    lock_release(&tls.lock);
    if (green)
        unlist(self);
    if (libc_stacks_executable())
        coro_stacks_executable();
}

/* The list may have been caught in the midst of a change: it is made again when it is needed. */
void libc_after_fork(void)
{
    lock_init(&tls.lock);
    tls.modules = NULL;
    tls.count = tls.capacity = 0;
    tls.seen = (struct libc_stamp){0};
}

/* ---- start-up ------------------------------------------------------------------------------ */

static bool descriptor(const char *name, size_t *offset)
{
    const uint32_t *d = dlsym(RTLD_NEXT, name);
    if (d)
        *offset = d[2];
    return d != NULL;
}

/* Beyond what the descriptors say, four numbers of the linker are found by their distance from one
 * that has a descriptor; what they hold is checked against the table. */
static const char *check_tables(void)
{
    enum { STACK_FLAGS = -2, MAX_ID = -1, STATIC_USED = 2, GENERATION = 5 };
    size_t *slots = (size_t *)linker.slots;
    linker.max_id = slots + MAX_ID;
    linker.static_used = slots + STATIC_USED;
    linker.generation = slots + GENERATION;
    linker.stack_flags = (const uint32_t *)(slots + STACK_FLAGS);

    if ((*linker.stack_flags & ~(uint32_t)PF_X) != (PF_R | PF_W))
        return "the dynamic linker's flags for stacks are not where they should be";
    size_t length = *(size_t *)*linker.slots;
    if (*linker.max_id == 0 || *linker.max_id >= length + 4096)
        return "the dynamic linker's count of modules is not where it should be";
    dl_iterate_phdr(scan, NULL);
    size_t used = 0;
    size_t generation = 0;
    for (size_t i = 0; i < tls.count; i++) {
        const struct module *m = &tls.modules[i];
        used = used < m->static_used ? m->static_used : used;
        generation = generation < m->generation ? m->generation : generation;
    }
    if (tls.count == 0)
        return "the dynamic linker's modules are not where they should be";
    if (*linker.static_used < used || *linker.static_used > used + (1 << 20))
        return "the dynamic linker's size of static TLS is not where it should be";
    if (*linker.generation < generation || *linker.generation > generation + (1 << 20))
        return "the dynamic linker's generation is not where it should be";
    return NULL;
}

/* The linker initialises new static TLS in the blocks of its lists of threads: used stacks, stacks of
 * the program's, cached stacks, then two numbers, then the lists' lock. */
static const char *check_lists(char *global, size_t user)
{
    enum { CACHE = 16, CACHE_SIZE = 32, LOCK = 48 };
    linker.stack_user = (struct libc_list *)(void *)(global + user);
    struct libc_list *cache = (struct libc_list *)(void *)(global + user + CACHE);
    linker.stack_lock = (struct lock *)(void *)(global + user + LOCK);
    if (((struct libc_list *)linker.stack_user->next)->prev != linker.stack_user ||
        ((struct libc_list *)cache->next)->prev != cache ||
        (cache->next == cache && *(size_t *)(void *)(global + user + CACHE_SIZE) != 0) ||
        (unsigned)linker.stack_lock->word > 2)
        return "the dynamic linker's lists of threads are not where they should be";
    return NULL;
}

const char *libc_tls_start(uintptr_t tp)
{
    size_t slots, user, size, unused;
    char *global = dlsym(RTLD_NEXT, "_rtld_global");
    void *dlinfo_found = dlsym(RTLD_NEXT, "dlinfo");
    const uint32_t *slot_size = dlsym(RTLD_NEXT, "_thread_db_sizeof_dtv_slotinfo");
    if (!global || !dlinfo_found || !slot_size ||
        !descriptor("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list", &slots) ||
        !descriptor("_thread_db_rtld_global__dl_stack_user", &user) ||
        !descriptor("_thread_db_dtv_slotinfo_list_next", &linker.slots_next) ||
        !descriptor("_thread_db_dtv_slotinfo_list_slotinfo", &linker.slots_first) ||
        !descriptor("_thread_db_dtv_slotinfo_list_len", &size) || size != 0 ||
        !descriptor("_thread_db_dtv_slotinfo_gen", &linker.slot_generation) ||
        !descriptor("_thread_db_dtv_slotinfo_map", &linker.slot_map) ||
        !descriptor("_thread_db_link_map_l_tls_offset", &linker.map_offset) ||
        !descriptor("_thread_db_dtv_t_pointer_val", &unused) || unused != 0)
        return "the descriptors of the dynamic linker's tables are missing";
    memcpy(&linker.dlinfo, &dlinfo_found, sizeof dlinfo_found);
    linker.slot_size = *slot_size;
    linker.slots = (void *const *)(void *)(global + slots);

    const char *why = check_tables();
    if (!why)
        why = check_lists(global, user);
    if (why)
        return why;
    tls.loaded = tls.seen;
    /* The vector: its length stands before it, a generation in its first entry. */
    struct vector_entry *vector = vector_at(tp);
    if ((size_t)vector[-1].block < *linker.max_id || (size_t)vector[0].block > *linker.generation)
        return "a thread's vector of TLS blocks does not look as it should";
    return NULL;
}
