#include "coro/libc.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

#include "coro/coro.h"
#include "coro/libc_malloc.h"
#include "coro/libc_pthread.h"
#include "coro/libc_tls.h"
#include "coro/lock.h"
#include "coro/sys.h"

/* libc's functions, found behind whatever interposes them. Written once by libc_check(). */
static struct {
    void *(*allocate_tls)(void *);
    void (*get_tls_static_info)(size_t *, size_t *);
    void (*ctype_init)(void);
    void (*call_tls_dtors)(void);
    void (*register_cancel)(__pthread_unwind_buf_t *);
    void (*unregister_cancel)(__pthread_unwind_buf_t *);
    void (*unwind_next)(__pthread_unwind_buf_t *);
    char *(*dlerror)(void);
    void (*res_nclose)(res_state);
    res_state (*res_state_of)(void);
    int (*setcancelstate)(int, int *);
    int (*setcanceltype)(int, int *);
    int (*key_create)(pthread_key_t *, void (*)(void *));
    int (*key_delete)(pthread_key_t);
    int (*setspecific)(pthread_key_t, const void *);
} libc;

/* Where things lie; written once by libc_check(). Distances are from the thread pointer. */
static struct {
    size_t below, above, align;
    ptrdiff_t resp, errno_at, h_errno_at, locale, dlerror_result;
    uintptr_t locale_initial; /* what a new thread's locale slot holds */
} at;

size_t libc_tcb_below(void)
{
    return at.below;
}

size_t libc_tcb_above(void)
{
    return at.above;
}

size_t libc_tcb_align(void)
{
    return at.align;
}

static void *tls_at(uintptr_t tp, ptrdiff_t distance)
{
    return (void *)(tp + (uintptr_t)distance);
}

/* ---- checks -------------------------------------------------------------------------------- */

/* "libc 2.36: WHAT: WHY" in static memory: there is no stdio here, and the text is printed once. */
static const char *wrong(const char *what, const char *why)
{
    static char text[256];
    const char *parts[] = {"this libc is not one that libgreen knows: ", what, " ", why};
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *p = parts[i]; *p && n < sizeof text - 1; p++)
            text[n++] = *p;
    text[n] = 0;
    return text;
}

static const char *look_up(void)
{
    const struct {
        void *to;
        const char *name;
    } symbols[] = {
        {&libc.allocate_tls, "_dl_allocate_tls"},
        {&libc.get_tls_static_info, "_dl_get_tls_static_info"},
        {&libc.ctype_init, "__ctype_init"},
        {&libc.call_tls_dtors, "__call_tls_dtors"},
        {&libc.register_cancel, "__pthread_register_cancel"},
        {&libc.unregister_cancel, "__pthread_unregister_cancel"},
        {&libc.unwind_next, "__pthread_unwind_next"},
        {&libc.dlerror, "dlerror"},
        {&libc.res_nclose, "__res_nclose"},
        {&libc.res_state_of, "__res_state"},
        {&libc.setcancelstate, "pthread_setcancelstate"},
        {&libc.setcanceltype, "pthread_setcanceltype"},
        {&libc.key_create, "pthread_key_create"},
        {&libc.key_delete, "pthread_key_delete"},
        {&libc.setspecific, "pthread_setspecific"},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *f = dlsym(RTLD_NEXT, symbols[i].name);
        if (!f)
            return wrong(symbols[i].name, "is missing");
        memcpy(symbols[i].to, &f, sizeof f);
    }
    return NULL;
}

/* What libc tells debuggers about struct pthread must be what libc_pthread.h says. */
static const char *check_layout(void)
{
#define FIELD(descriptor, field) \
    {"_thread_db_pthread_" #descriptor, PTHREAD_HEADER + offsetof(struct libc_pthread, field)}
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        FIELD(list, list),
        FIELD(tid, tid),
        FIELD(cancelhandling, cancelhandling),
        FIELD(specific, specific),
        FIELD(report_events, report_events),
        FIELD(schedparam_sched_priority, sched_priority),
        FIELD(schedpolicy, sched_policy),
        FIELD(start_routine, start_routine),
        FIELD(eventbuf, eventbuf),
        FIELD(nextevent, nextevent),
        {"_thread_db_pthread_dtvp", PTHREAD_DTV},
    };
#undef FIELD
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const uint32_t *d = dlsym(RTLD_NEXT, fields[i].name);
        if (!d)
            return wrong(fields[i].name, "is missing");
        if (d[2] != fields[i].offset)
            return wrong(fields[i].name, "is at another offset in struct pthread");
    }
    const uint32_t *size = dlsym(RTLD_NEXT, "_thread_db_sizeof_pthread");
    if (!size || *size != PTHREAD_SIZE)
        return wrong("struct pthread", "has another size");
    return NULL;
}

/* The calling thread's own block must behave as the layout says. */
static const char *check_self(uintptr_t tp)
{
    struct libc_pthread *self = libc_pthread_at(tp);
    if (self->tid != (pid_t)sys_0(SYS_gettid))
        return wrong("struct pthread", "does not hold the thread id where it should");
    if (((struct libc_list *)self->list.next)->prev != &self->list)
        return wrong("struct pthread", "is not in a list");

    void *head = NULL;
    size_t length = 0;
    if (sys_3(SYS_get_robust_list, 0, &head, &length) == 0 && head &&
        (head != (void *)&self->robust_head || self->robust_head.futex_offset != ROBUST_OFFSET))
        return wrong("struct pthread", "does not hold the robust list where it should");

    int old;
    int before = self->cancelhandling;
    libc.setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    int disabled = self->cancelhandling;
    libc.setcancelstate(old, NULL);
    libc.setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    int asynchronous = self->cancelhandling;
    libc.setcanceltype(old, NULL);
    if (disabled != (before | CANCEL_DISABLED) || asynchronous != (before | CANCEL_ASYNC) ||
        self->cancelhandling != before)
        return wrong("struct pthread", "does not hold the cancellation state as it should");

    pthread_key_t key;
    if (libc.key_create(&key, NULL) == 0) {
        bool used = self->specific_used;
        libc.setspecific(key, &key);
        bool found = key >= KEYS_PER_BLOCK || (self->first_block[key].data == &key &&
                                               self->specific[0] == self->first_block);
        libc.setspecific(key, NULL);
        libc.key_delete(key);
        found &= self->specific_used;
        self->specific_used = used;
        if (!found)
            return wrong("struct pthread", "does not hold the keys' values where it should");
    }
    const ptrdiff_t *rseq = dlsym(RTLD_NEXT, "__rseq_offset");
    if (!rseq || tls_at(tp, *rseq) != (void *)&self->rseq)
        return wrong("struct pthread", "does not hold the rseq area where it should");
#if defined(__x86_64__)
    if (libc_header_at(tp)->tcb != (void *)tp || libc_header_at(tp)->self != (void *)tp)
        return wrong("struct pthread", "does not begin with its own address");
#endif
    return NULL;
}

/* Find the variables in libc's own TLS that a new thread does not inherit. */
static const char *find_tls(uintptr_t tp)
{
    struct __res_state **resp = dlsym(RTLD_NEXT, "__resp");
    int *h = dlsym(RTLD_NEXT, "__h_errno");
    if (!resp || *resp != libc.res_state_of())
        return wrong("__resp", "does not hold the resolver's state");
    if (!h || h != &h_errno)
        return wrong("__h_errno", "is not where h_errno is");
    void **message = dlsym(RTLD_NEXT, "__libc_dlerror_result");
    if (!message)
        return wrong("__libc_dlerror_result", "is missing");
    at.dlerror_result = (ptrdiff_t)((uintptr_t)message - tp);
    at.resp = (ptrdiff_t)((uintptr_t)resp - tp);
    at.h_errno_at = (ptrdiff_t)((uintptr_t)h - tp);
    at.errno_at = (ptrdiff_t)((uintptr_t)&errno - tp);

    uintptr_t low, end;
    if (!libc_tls_own(tp, &low, &end))
        return wrong("errno", "lies in no library's TLS");
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    locale_t old = uselocale(LC_GLOBAL_LOCALE);
    size_t words = (end - low) / sizeof(uintptr_t);
    size_t found = words;
    uintptr_t global[64];
    if (words > sizeof global / sizeof *global)
        words = sizeof global / sizeof *global;
    memcpy(global, (void *)low, words * sizeof *global);
    uselocale(c);
    for (size_t i = 0; i < words; i++)
        if (((uintptr_t *)low)[i] == (uintptr_t)c && global[i] != (uintptr_t)c)
            found = i;
    uselocale(old);
    freelocale(c);
    if (found == words)
        return wrong("uselocale()", "does not keep the locale in libc's TLS");
    at.locale = (ptrdiff_t)(low + found * sizeof(uintptr_t) - tp);
    at.locale_initial = global[found];
    return NULL;
}

const char *libc_check(void)
{
    const char *why;
    uintptr_t tp = (uintptr_t)__builtin_thread_pointer();
    if ((why = look_up()) || (why = check_layout()) || (why = check_self(tp)))
        return why;
    if ((why = libc_tls_start(tp)))
        return wrong("TLS:", why);
    if ((why = find_tls(tp)))
        return why;
    libc_malloc_start(tp);

    size_t size, align;
    libc.get_tls_static_info(&size, &align);
    at.align = align < 64 ? 64 : align;
#if defined(__x86_64__)
    at.below = size - PTHREAD_SIZE;
    at.above = PTHREAD_SIZE + sizeof(struct libc_stamp);
#else
    at.below = PTHREAD_SIZE + sizeof(struct libc_stamp);
    at.above = size;
#endif
    return NULL;
}

/* ---- a thread's block ---------------------------------------------------------------------- */

/* What libc sets for each thread that it starts, whether its block is new or used. */
static void tcb_set(uintptr_t tp)
{
    struct libc_pthread *p = libc_pthread_at(tp);
    p->list = (struct libc_list){&p->list, &p->list};
    p->robust_prev = &p->robust_head;
    p->robust_head = (struct libc_robust_head){&p->robust_head, ROBUST_OFFSET, NULL};
    p->specific[0] = p->first_block;
    p->cancelhandling = 0; /* also of who was cancelled after its end */
    p->user_stack = true; /* a forked child must not put it into libc's stack cache */
    p->rseq.cpu_id = RSEQ_FAILED;
    *(struct __res_state **)tls_at(tp, at.resp) = &p->res;
    libc_header_set(tp);
}

int libc_tcb_init(uintptr_t tp)
{
    struct libc_stamp before;
    libc_tls_stamp(&before);
    if (!libc.allocate_tls((void *)tp))
        return ENOMEM;
    libc_tls_init_since(tp, &before);
    tcb_set(tp);
    return 0;
}

static void keys_clear(struct libc_pthread *p)
{
    memset(p->first_block, 0, sizeof p->first_block);
    for (size_t i = 1; i < KEY_BLOCKS; i++)
        if (p->specific[i])
            memset(p->specific[i], 0, sizeof p->first_block);
    p->specific_used = false;
}

void libc_tcb_reset(uintptr_t tp)
{
    struct libc_pthread *p = libc_pthread_at(tp);
    void *priority = p->tpp;
    if (p->specific_used)
        keys_clear(p);
    p->cleanup = NULL;
    p->cleanup_jmp_buf = NULL;
    p->flags = 0;
    memset(&p->report_events, 0,
           offsetof(struct libc_pthread, stackblock) -
               offsetof(struct libc_pthread, report_events));
    p->tpp = NULL;
    if (p->res.options || p->res.nscount || p->res.retrans)
        memset(&p->res, 0, sizeof p->res);
    p->sigmask = 0;
    p->exiting = false;
    p->exit_lock = 0;
    if (priority)
        free(priority);

    *(uintptr_t *)tls_at(tp, at.locale) = at.locale_initial;
    *(int *)tls_at(tp, at.errno_at) = 0;
    *(int *)tls_at(tp, at.h_errno_at) = 0;
    libc_tls_renew(tp);
    tcb_set(tp);
}

void libc_set_stack(uintptr_t tp, void *low, size_t size, size_t guard)
{
    struct libc_pthread *p = libc_pthread_at(tp);
    p->stackblock = (char *)low - guard;
    p->stackblock_size = size + guard;
    p->guardsize = p->reported_guardsize = guard;
}

void libc_thread_begin(void)
{
    libc.ctype_init();
}

static void take_and_free(void *slot)
{
    void *block;
    memcpy(&block, slot, sizeof block);
    memset(slot, 0, sizeof block);
    free(block);
}

static void buffers_free(struct libc_pthread *p)
{
    for (size_t i = 1; p->specific_used && i < KEY_BLOCKS; i++)
        take_and_free(&p->specific[i]);
    take_and_free(&p->strsignal_buf);
    take_and_free(&p->strerror_buf);
}

void libc_thread_end(void)
{
    uintptr_t tp = (uintptr_t)__builtin_thread_pointer();
    void **message = tls_at(tp, at.dlerror_result);
    if (*message) {
        uselocale(LC_GLOBAL_LOCALE); /* the message is translated; the thread's locale may be gone */
        libc.dlerror();              /* returns a message that was not read */
        if (*message)
            libc.dlerror(); /* frees it */
    }
    struct libc_pthread *p = libc_pthread_at(tp);
    if (p->res.nscount)
        libc.res_nclose(&p->res);
    buffers_free(p);
    libc_malloc_end(tp);
}

void libc_run_tls_dtors(void)
{
    libc.call_tls_dtors();
}

uintptr_t libc_self(uintptr_t tp)
{
    return (uintptr_t)libc_pthread_at(tp) - PTHREAD_HEADER;
}

pid_t libc_tid(uintptr_t tp)
{
    return libc_pthread_at(tp)->tid;
}

void libc_set_tid(uintptr_t tp, pid_t tid)
{
    libc_pthread_at(tp)->tid = tid;
}

/* ---- the base frame ------------------------------------------------------------------------ */

/* As pthread_cleanup_push() in C does it, with nothing to clean up: libc's unwinder jumps to the
 * buffer when it has run all handlers and destructors above this frame. The functions are never
 * inlined: libc decides by the frame's address whether it has arrived, so the caller must not
 * have things to destroy in the frame that registers. */
__attribute__((noinline)) void *libc_run(void *(*fn)(void *), void *arg)
{
    __pthread_unwind_buf_t buffer;
    if (__sigsetjmp_cancel(buffer.__cancel_jmp_buf, 0)) {
        libc.unregister_cancel(&buffer); /* the caller may exit once more: not to a frame that is gone */
        return libc_pthread_at((uintptr_t)__builtin_thread_pointer())->result;
    }
    /* libc forgets to say so where pthread_setcancelstate() and _settype() act on a cancellation. */
    libc_pthread_at((uintptr_t)__builtin_thread_pointer())->result = PTHREAD_CANCELED;
    libc.register_cancel(&buffer);
    void *result = fn(arg);
    libc.unregister_cancel(&buffer);
    return result;
}

__attribute__((noinline)) int libc_run_main(int (*fn)(int, char **, char **), int argc,
                                                     char **argv, char **envp, bool *exited)
{
    __pthread_unwind_buf_t buffer;
    *exited = false;
    if (__sigsetjmp_cancel(buffer.__cancel_jmp_buf, 0)) {
        libc.unregister_cancel(&buffer);
        *exited = true;
        return 0;
    }
    libc.register_cancel(&buffer);
    int result = fn(argc, argv, envp);
    libc.unregister_cancel(&buffer);
    return result;
}

static __attribute__((noinline)) void relay_call(__pthread_unwind_buf_t *buffer, void (*fn)(void))
{
    if (__sigsetjmp_cancel(buffer->__cancel_jmp_buf, 0))
        libc.unwind_next(buffer);
    libc.register_cancel(buffer);
    fn();
}

static void relay_ended(__pthread_unwind_buf_t *buffer)
{
    libc.unregister_cancel(buffer);
}

void libc_relay(void (*fn)(void))
{
    if (!libc.unwind_next) { /* a library's constructor, before ours */
        fn();
        return;
    }
    __attribute__((cleanup(relay_ended))) __pthread_unwind_buf_t buffer;
    relay_call(&buffer, fn);
}

/* ---- cancellation -------------------------------------------------------------------------- */

static int cancel_state(uintptr_t tp)
{
    return __atomic_load_n(&libc_pthread_at(tp)->cancelhandling, __ATOMIC_ACQUIRE);
}

bool libc_cancel(uintptr_t tp)
{
    return !(__atomic_fetch_or(&libc_pthread_at(tp)->cancelhandling,
                               CANCEL_CANCELING | CANCEL_CANCELED, __ATOMIC_ACQ_REL) &
             CANCEL_CANCELED);
}

bool libc_cancel_pending(uintptr_t tp)
{
    return (cancel_state(tp) & (CANCEL_DISABLED | CANCEL_CANCELED | CANCEL_EXITING |
                                CANCEL_TERMINATED)) == CANCEL_CANCELED;
}

bool libc_cancel_async(uintptr_t tp)
{
    return cancel_state(tp) & CANCEL_ASYNC;
}

void libc_mark_exiting(uintptr_t tp)
{
    __atomic_fetch_or(&libc_pthread_at(tp)->cancelhandling, CANCEL_EXITING, __ATOMIC_ACQ_REL);
}

/* ---- what the kernel does for OS threads --------------------------------------------------- */

/* The word of one robust mutex whose owner `tid` dies; `pending` as in the kernel's
 * handle_futex_death(): the thread may have died between unlock and wake. */
static void robust_died(void *entry, pid_t tid, bool pending,
                        void (*died)(void *mutex, void *data), void *data)
{
    bool inherits = (uintptr_t)entry & 1;
    char *node = (char *)((uintptr_t)entry & ~(uintptr_t)1);
    uint32_t *word = (uint32_t *)(void *)(node + ROBUST_OFFSET);
    uint32_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    while ((value & FUTEX_TID_MASK) == (uint32_t)tid) {
        uint32_t dead = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (__atomic_compare_exchange_n(word, &value, dead, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            died(word, data);
            return;
        }
    }
    if (pending && !inherits && (value & FUTEX_TID_MASK) == 0)
        died(word, data);
}

void libc_robust_register(uintptr_t tp)
{
    struct libc_robust_head *head = &libc_pthread_at(tp)->robust_head;
    sys_2(SYS_set_robust_list, head, sizeof *head);
}

/* What becomes of one entry: another's (a private lock has another id), marked, or for the kernel,
 * which alone knows who inherits it. Once marked it is the next owner's to link. */
enum robust { ROBUST_STAYS, ROBUST_GONE, ROBUST_KERNEL };

static enum robust robust_died_shared(void *entry, uint32_t tid)
{
    bool inherits = (uintptr_t)entry & 1;
    char *node = (char *)((uintptr_t)entry & ~(uintptr_t)1);
    uint32_t *word = (uint32_t *)(void *)(node + ROBUST_OFFSET);
    uint32_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    while ((value & FUTEX_TID_MASK) == tid) {
        if (inherits && value & FUTEX_WAITERS)
            return ROBUST_KERNEL;
        uint32_t dead = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (__atomic_compare_exchange_n(word, &value, dead, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            if (value & FUTEX_WAITERS)
                sys_6(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
            return ROBUST_GONE;
        }
    }
    return ROBUST_STAYS;
}

void libc_robust_exit_bound(uintptr_t tp, uintptr_t native_tp)
{
    enum { LIMIT = 2048 };
    struct libc_robust_head *head = &libc_pthread_at(tp)->robust_head;
    struct libc_robust_head *native = &libc_pthread_at(native_tp)->robust_head;
    uint32_t tid = (uint32_t)sys_0(SYS_gettid);
    void **last = &head->list, *entry = head->list, *next;
    for (int i = 0; i < LIMIT && (void *)((uintptr_t)entry & ~(uintptr_t)1) != head; i++) {
        void **node = (void **)((uintptr_t)entry & ~(uintptr_t)1);
        next = *node;
        enum robust became = robust_died_shared(entry, tid);
        if (became == ROBUST_KERNEL && native != head) {
            *node = native->list;
            native->list = entry;
        } else if (became != ROBUST_GONE) {
            *last = entry;
            last = node;
        }
        entry = next;
    }
    *last = head;
    if (native != head && native->list != native)
        sys_2(SYS_set_robust_list, native, sizeof *native);
}

void libc_robust_exit(uintptr_t tp, void (*died)(void *mutex, void *data), void *data)
{
    enum { LIMIT = 2048 }; /* the kernel's ROBUST_LIST_LIMIT: the list may be corrupt */
    struct libc_pthread *p = libc_pthread_at(tp);
    struct libc_robust_head *head = &p->robust_head;
    void *pending = head->pending;
    void *entry = head->list;
    for (int i = 0; i < LIMIT && (void *)((uintptr_t)entry & ~(uintptr_t)1) != head; i++) {
        void *next = *(void **)((uintptr_t)entry & ~(uintptr_t)1);
        if (entry != pending)
            robust_died(entry, p->tid, false, died, data);
        entry = next;
    }
    if (pending)
        robust_died(pending, p->tid, true, died, data);
    *head = (struct libc_robust_head){head, ROBUST_OFFSET, NULL};
    p->robust_prev = head;
}

void libc_disable_rseq(void)
{
    enum { UNREGISTER = 1, LENGTH = 32 };
#if defined(__x86_64__)
    enum { SIGNATURE = 0x53053053 };
#else
    enum { SIGNATURE = (int)0xd428bc00 };
#endif
    struct libc_rseq *rseq = &libc_pthread_at((uintptr_t)__builtin_thread_pointer())->rseq;
    sys_4(SYS_rseq, rseq, LENGTH, UNREGISTER, SIGNATURE);
    /* A thread that libc starts registers only if its creator did. */
    rseq->cpu_id = RSEQ_FAILED;
    rseq->cpu_id_start = 0;
}
