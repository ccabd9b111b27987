/* struct pthread of glibc 2.36, from its `list` on; what comes before differs between
 * architectures. Compared with libc's own descriptors by libc_check(). For coro/libc*.c only. */
#ifndef CORO_LIBC_PTHREAD_H
#define CORO_LIBC_PTHREAD_H

#include <resolv.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__)
enum { PTHREAD_HEADER = 0x2c0, PTHREAD_DTV = 8 };
#elif defined(__aarch64__)
enum { PTHREAD_HEADER = 0xc0 };
#endif

enum {
    KEYS_PER_BLOCK = 32,
    KEY_BLOCKS = 32,
    ROBUST_OFFSET = -32, /* from a robust mutex's list node to its futex word */
    RSEQ_FAILED = -2,

    CANCEL_DISABLED = 1 << 0,
    CANCEL_ASYNC = 1 << 1,
    CANCEL_CANCELING = 1 << 2,
    CANCEL_CANCELED = 1 << 3,
    CANCEL_EXITING = 1 << 4,
    CANCEL_TERMINATED = 1 << 5,
};

struct libc_list {
    void *next;
    void *prev;
};

struct libc_robust_head {
    void *list;
    long futex_offset;
    void *pending;
};

struct libc_key {
    uintptr_t seq;
    void *data;
};

struct libc_rseq {
    uint32_t cpu_id_start;
    int32_t cpu_id;
    uint64_t cs;
    uint32_t flags;
} __attribute__((aligned(32)));

struct libc_pthread {
    struct libc_list list;
    pid_t tid;
    void *robust_prev;
    struct libc_robust_head robust_head;
    void *cleanup;
    void *cleanup_jmp_buf;
    int cancelhandling;
    int flags;
    struct libc_key first_block[KEYS_PER_BLOCK];
    struct libc_key *specific[KEY_BLOCKS];
    bool specific_used;
    bool report_events;
    bool user_stack;
    bool stopped_start;
    int setup_failed;
    int lock;
    unsigned setxid_futex;
    void *joinid;
    void *result;
    int sched_priority;
    int sched_policy;
    void *start_routine;
    void *arg;
    char eventbuf[24];
    void *nextevent;
    char exception[32] __attribute__((aligned(16)));
    void *stackblock;
    size_t stackblock_size;
    size_t guardsize;
    size_t reported_guardsize;
    void *tpp; /* priorities of PTHREAD_PRIO_PROTECT mutexes, from malloc */
    struct __res_state res;
    uint64_t sigmask;
    bool c11;
    bool exiting;
    int exit_lock;
    char *strsignal_buf;
    char *strerror_buf;
    struct libc_rseq rseq;
} __attribute__((aligned(64)));

enum { PTHREAD_SIZE = PTHREAD_HEADER + offsetof(struct libc_pthread, rseq) + 32 };

#if defined(__aarch64__)
enum { PTHREAD_DTV = PTHREAD_SIZE };
#endif

/* What every thread pointer of x86-64 points to, as far as it concerns us. */
struct libc_header {
    void *tcb;
    void *dtv;
    void *self;
    int multiple_threads;
    int gscope_flag;
    uintptr_t sysinfo;
    uintptr_t stack_guard;
    uintptr_t pointer_guard;
    uintptr_t unused[2];
    unsigned feature_1;
};

/* Kept behind (x86-64) or below (aarch64) struct pthread: what static TLS the block has. */
struct libc_stamp {
    size_t generation;  /* of the last module with TLS when the block was made */
    size_t static_used; /* bytes of static TLS that were taken then */
} __attribute__((aligned(16)));

#if defined(__x86_64__)
static inline struct libc_pthread *libc_pthread_at(uintptr_t tp)
{
    return (struct libc_pthread *)(tp + PTHREAD_HEADER);
}

static inline struct libc_stamp *libc_stamp_at(uintptr_t tp)
{
    return (struct libc_stamp *)(tp + PTHREAD_SIZE);
}

static inline struct libc_header *libc_header_at(uintptr_t tp)
{
    return (struct libc_header *)tp;
}

static inline void libc_header_set(uintptr_t tp)
{
    struct libc_header *h = libc_header_at(tp);
    const struct libc_header *mine = libc_header_at((uintptr_t)__builtin_thread_pointer());
    h->tcb = h->self = (void *)tp;
    h->multiple_threads = 1;
    h->stack_guard = mine->stack_guard;
    h->pointer_guard = mine->pointer_guard;
    h->feature_1 = mine->feature_1;
}
#elif defined(__aarch64__)
static inline struct libc_pthread *libc_pthread_at(uintptr_t tp)
{
    return (struct libc_pthread *)(tp - PTHREAD_SIZE + PTHREAD_HEADER);
}

static inline struct libc_stamp *libc_stamp_at(uintptr_t tp)
{
    return (struct libc_stamp *)(tp - PTHREAD_SIZE - sizeof(struct libc_stamp));
}

/* The guards are global variables there. */
static inline void libc_header_set(uintptr_t tp)
{
    *(int *)(tp - PTHREAD_SIZE) = 1; /* multiple_threads */
}
#endif

#endif
