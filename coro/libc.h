/* The insides of glibc that libgreen leans on, and nothing else in the project does.
 *
 * Everything here was read from libc 2.36 through descriptors that libc publishes for debuggers
 * (`_thread_db_*`) or through exported private symbols, and is checked once by libc_check().
 */
#ifndef CORO_LIBC_H
#define CORO_LIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Look up and check every assumption. Returns NULL, or one sentence that names what does not hold. */
const char *libc_check(void);

/* Room that a control block needs below and at-and-above the thread pointer, and the pointer's
 * alignment: static TLS with its surplus lies below it on x86-64 and above it on aarch64, struct
 * pthread on the other side. Valid after libc_check(). */
size_t libc_tcb_below(void);
size_t libc_tcb_above(void);
size_t libc_tcb_align(void);

/* Has a library asked for stacks that may hold code? */
bool libc_stacks_executable(void);

/* Make a fresh control block at `tp` in zeroed memory. Returns 0 or ENOMEM. Calls malloc.
 * The thread id and the stack are set by the two functions below. */
int libc_tcb_init(uintptr_t tp);

/* Make the control block of a finished thread as new: TLS images, errno, locale, keys,
 * cancellation, robust list. May call free. */
void libc_tcb_reset(uintptr_t tp);

/* What a finished thread's control block still has of malloc's: the vector of TLS blocks. The second
 * one, which may be called when the block is gone, frees it (NULL: nothing) and calls free. */
void *libc_tcb_vector(uintptr_t tp);
void libc_tcb_vector_free(void *vector);

/* What pthread_getattr_np() and the unwinder read: the stack's end must lie above every frame. */
void libc_set_stack(uintptr_t tp, void *low, size_t size, size_t guard);

/* Per-thread initialisation that libc does on a new thread, on itself (__ctype_init and kin). */
void libc_thread_begin(void);

/* fn(arg) with a cleanup buffer at the base, so that pthread_exit() and cancellation unwind
 * through C cleanup handlers and C++ destructors and land here. Returns fn's result, or the value
 * given to pthread_exit(), or PTHREAD_CANCELED. Thread-local destructors (__call_tls_dtors) have
 * not run yet. */
void *libc_run(void *(*fn)(void *), void *arg);

/* main(argc, argv, envp) under the same kind of frame. `*exited` says that pthread_exit() ended
 * it; else the result is main's. */
int libc_run_main(int (*fn)(int, char **, char **), int argc, char **argv, char **envp,
                  bool *exited);

/* fn(), so that pthread_exit() and cancellation in it unwind the caller's frames though those of the
 * program have no unwind tables: libc then jumps to the next such buffer, and goes on from there. Any
 * thread, also before coro_start(). */
void libc_relay(void (*fn)(void));

/* What libc's own thread exit frees: the last dlerror() message, strerror()'s and strsignal()'s
 * buffers, keys beyond the first block, the resolver's sockets, malloc's cache. Called by the thread,
 * last of all. */
void libc_thread_end(void);

/* Run C++ and Rust thread_local destructors of the calling thread. */
void libc_run_tls_dtors(void);

/* The calling thread's robust mutexes: mark each as its owner having died, and report each lock's
 * address to died(futex_word, data), so that one waiter can be woken. As the kernel does at
 * thread exit (futex(2), set_robust_list(2)). */
void libc_robust_exit(uintptr_t tp, void (*died)(void *mutex, void *data), void *data);

/* The same, before it, for locks that the block at `tp` holds under the real id of the calling OS
 * thread, which ends soon: those that the kernel alone can pass on (priority inheritance, with others
 * waiting) go to the list of that thread's native block, which is registered instead. */
void libc_robust_exit_bound(uintptr_t tp, uintptr_t native_tp);

/* Register the robust list of the block at `tp` with the kernel for the calling OS thread. */
void libc_robust_register(uintptr_t tp);

/* What pthread_self() returns on the block at `tp`: its struct pthread, as a pthread_t. */
uintptr_t libc_self(uintptr_t tp);

/* The thread id that libc's locks use as owner. */
pid_t libc_tid(uintptr_t tp);
void libc_set_tid(uintptr_t tp, pid_t tid);

/* Cancellation as libc keeps it in the control block, so that libc's own inner cancellation points
 * work. libc_cancel() marks the thread as cancelled, and returns whether it was not before;
 * libc_cancel_pending(): cancelled and enabled. */
bool libc_cancel(uintptr_t tp);
bool libc_cancel_pending(uintptr_t tp);
bool libc_cancel_async(uintptr_t tp); /* type is PTHREAD_CANCEL_ASYNCHRONOUS */
void libc_mark_exiting(uintptr_t tp); /* from now on cancellation is not acted upon */

/* Around dlopen() on a green thread. Static TLS of a library that dlopen() loads is initialised by
 * libc in the blocks that it knows: loading() makes it know the caller's, so that the library's
 * constructors find their variables; loaded() initialises all other coroutines' blocks, but not
 * what a block has had since it was made, and makes stacks executable if a library asked for it.
 * Nested calls are fine; loaded() alone is, too. */
void libc_tls_loading(void);
void libc_tls_loaded(void);

/* In a forked child: locks are remade. Called by coro_after_fork(). */
void libc_after_fork(void);

/* Unregister rseq on the calling OS thread and for those to come (FACTS: else a forked child can
 * die when a stack is unmapped). Idempotent. */
void libc_disable_rseq(void);

#endif
