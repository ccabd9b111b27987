/* Random operations of many threads against a model that is kept beside them.
 *
 *   stress SECONDS [SEED [THREADS]]
 *
 * Each worker does, over and over, one of the operations below; every one of them keeps books that
 * add up whatever the order. At the end all workers are joined and the books are checked.
 *
 * The first second is a round of its own, after which everything that the process keeps for later is
 * there. What it holds at the end, when nothing runs any more, must be what it held then: descriptors,
 * OS threads, and address space for as many threads at once, of which each needs a stack of megabytes.
 * Exit status 0 and one line, or 1 and a line for each thing that does not add up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <malloc.h>

#include "held.h"

enum { LOCKS = 4, SLOTS = 8, WORKERS_MAX = 512 };

static _Atomic bool stop;
static _Atomic long failures;
static _Atomic unsigned long operations;

void fail(const char *what, long got, long expected)
{
    atomic_fetch_add(&failures, 1);
    fprintf(stderr, "stress: %s: got %ld, expected %ld\n", what, got, expected);
}

static long now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct random {
    unsigned long state;
};

static unsigned draw(struct random *r, unsigned below)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (unsigned)(r->state >> 20) % below;
}

/* ---- Mutexes: a counter and its copy, equal whenever the lock is free ---- */

static struct counted {
    pthread_mutex_t lock;
    long a, b;
} counted[LOCKS];
static _Atomic long counted_total;

static void op_mutex(struct random *r)
{
    struct counted *c = &counted[draw(r, LOCKS)];
    struct timespec at;
    int error;
    switch (draw(r, 3)) {
    case 0:
        error = pthread_mutex_lock(&c->lock);
        break;
    case 1:
        error = pthread_mutex_trylock(&c->lock);
        break;
    default:
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_nsec += 200000;
        if (at.tv_nsec >= 1000000000) {
            at.tv_sec++;
            at.tv_nsec -= 1000000000;
        }
        error = pthread_mutex_timedlock(&c->lock, &at);
    }
    if (error == EBUSY || error == ETIMEDOUT)
        return;
    if (error) {
        fail("mutex", error, 0);
        return;
    }
    if (c->a != c->b)
        fail("two threads in one mutex", c->a, c->b);
    c->a++;
    if (draw(r, 4) == 0)
        sched_yield();
    if (draw(r, 64) == 0)
        usleep(draw(r, 300));
    c->b++;
    atomic_fetch_add(&counted_total, 1);
    pthread_mutex_unlock(&c->lock);
}

/* ---- A bounded queue on two conditions: what goes in comes out ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some, room;
    long slots[SLOTS];
    unsigned head, count;
} queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0};
static _Atomic long put_sum, got_sum, put_count, got_count;

static bool queue_wait(pthread_cond_t *cond)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 2000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(cond, &queue.lock, &at) == 0;
}

static void op_put(struct random *r)
{
    long value = (long)draw(r, 1000) + 1;
    pthread_mutex_lock(&queue.lock);
    while (queue.count == SLOTS)
        if (!queue_wait(&queue.room) && queue.count == SLOTS) {
            pthread_mutex_unlock(&queue.lock);
            return;
        }
    queue.slots[(queue.head + queue.count++) % SLOTS] = value;
    pthread_cond_signal(&queue.some);
    pthread_mutex_unlock(&queue.lock);
    atomic_fetch_add(&put_sum, value);
    atomic_fetch_add(&put_count, 1);
}

static void op_get(struct random *r)
{
    (void)r;
    pthread_mutex_lock(&queue.lock);
    while (!queue.count)
        if (!queue_wait(&queue.some) && !queue.count) {
            pthread_mutex_unlock(&queue.lock);
            return;
        }
    long value = queue.slots[queue.head];
    queue.head = (queue.head + 1) % SLOTS;
    queue.count--;
    pthread_cond_broadcast(&queue.room);
    pthread_mutex_unlock(&queue.lock);
    atomic_fetch_add(&got_sum, value);
    atomic_fetch_add(&got_count, 1);
}

/* ---- A semaphore with three places ---- */

static sem_t places;
static _Atomic int inside;

static void op_sem(struct random *r)
{
    if (draw(r, 2)) {
        while (sem_wait(&places))
            if (errno != EINTR)
                fail("sem_wait", errno, 0);
    } else if (sem_trywait(&places)) {
        return;
    }
    int n = atomic_fetch_add(&inside, 1) + 1;
    if (n > 3)
        fail("a semaphore of three", n, 3);
    if (draw(r, 8) == 0)
        sched_yield();
    atomic_fetch_sub(&inside, 1);
    sem_post(&places);
}

/* ---- A read-write lock: writers alone ---- */

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic int readers, writers;

static void op_rwlock(struct random *r)
{
    if (draw(r, 4)) {
        if (pthread_rwlock_rdlock(&rwlock))
            return;
        atomic_fetch_add(&readers, 1);
        if (atomic_load(&writers))
            fail("a reader beside a writer", 1, 0);
        if (draw(r, 16) == 0)
            sched_yield();
        atomic_fetch_sub(&readers, 1);
    } else {
        if (pthread_rwlock_wrlock(&rwlock))
            return;
        if (atomic_fetch_add(&writers, 1) || atomic_load(&readers))
            fail("a writer is not alone", 1, 0);
        if (draw(r, 4) == 0)
            sched_yield();
        atomic_fetch_sub(&writers, 1);
    }
    pthread_rwlock_unlock(&rwlock);
}

/* ---- A futex mutex of the program's own ---- */

static _Atomic int futex_word;
static long futex_a, futex_b;

static void op_futex(struct random *r)
{
    int c = 0;
    if (!atomic_compare_exchange_strong(&futex_word, &c, 1)) {
        if (c != 2)
            c = atomic_exchange(&futex_word, 2);
        while (c) {
            syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
            c = atomic_exchange(&futex_word, 2);
        }
    }
    if (futex_a != futex_b)
        fail("two threads in one futex", futex_a, futex_b);
    futex_a++;
    if (draw(r, 4) == 0)
        sched_yield();
    futex_b++;
    if (atomic_fetch_sub(&futex_word, 1) != 1) {
        atomic_store(&futex_word, 0);
        syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

/* ---- Pairs of threads: create, talk over a socket, join ---- */

static void *echo(void *arg)
{
    int fd = (int)(long)arg;
    char text[64];
    ssize_t n;
    while ((n = read(fd, text, sizeof text)) > 0)
        if (write(fd, text, (size_t)n) != n)
            fail("a short write", n, (long)n);
    close(fd);
    return arg;
}

static void op_pair(struct random *r)
{
    int fds[2];
    pthread_t t;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return;
    if (pthread_create(&t, NULL, echo, (void *)(long)fds[1])) {
        close(fds[0]);
        close(fds[1]);
        return;
    }
    unsigned rounds = draw(r, 6);
    for (unsigned i = 0; i < rounds; i++) {
        char out[64], in[64];
        size_t n = draw(r, 63) + 1;
        memset(out, (int)draw(r, 256), n);
        if (write(fds[0], out, n) != (ssize_t)n)
            fail("write to the echo", errno, 0);
        size_t had = 0;
        while (had < n) {
            struct pollfd p = {fds[0], POLLIN, 0};
            if (draw(r, 2))
                poll(&p, 1, 1000);
            ssize_t k = recv(fds[0], in + had, n - had, 0);
            if (k <= 0) {
                fail("read from the echo", k, (long)n);
                break;
            }
            had += (size_t)k;
        }
        if (memcmp(in, out, n))
            fail("the echo is another one", in[0], out[0]);
    }
    if (draw(r, 2))
        shutdown(fds[0], SHUT_WR);
    else
        close(fds[0]), fds[0] = -1;
    void *result;
    int error = pthread_join(t, &result);
    if (error || result != (void *)(long)fds[1])
        fail("join", error, 0);
    if (fds[0] >= 0)
        close(fds[0]);
}

/* ---- Cancelled and interrupted threads ---- */

static void *sleeps(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void op_cancel(struct random *r)
{
    pthread_t t;
    if (pthread_create(&t, NULL, sleeps, NULL))
        return;
    if (draw(r, 2))
        sched_yield();
    if (draw(r, 2))
        pthread_kill(t, SIGUSR1);
    pthread_cancel(t);
    void *result;
    int error = pthread_join(t, &result);
    if (error || result != PTHREAD_CANCELED)
        fail("cancel and join", error, 0);
}

static _Atomic long handled, sent;

static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&handled, 1);
}

/* ---- What holds the OS thread: handoffs ---- */

static void op_spin(struct random *r)
{
    long until = now_ms() + draw(r, 16);
    while (now_ms() < until && !atomic_load(&stop))
        ;
}

/* A raw system call that no wrapper sees. */
static long raw_nanosleep(const struct timespec *ts)
{
#if defined(__x86_64__)
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_nanosleep), "D"(ts), "S"(NULL)
                     : "rcx", "r11", "memory");
    return ret;
#else
    return nanosleep(ts, NULL);
#endif
}

static void op_raw(struct random *r)
{
    struct timespec ts = {0, (long)draw(r, 4000000)};
    raw_nanosleep(&ts);
}

static void op_sleep(struct random *r)
{
    long ns = (long)draw(r, 2000000);
    struct timespec ts = {0, ns}, before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (nanosleep(&ts, NULL))
        return;
    clock_gettime(CLOCK_MONOTONIC, &after);
    long took = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    if (took < ns)
        fail("woke too early", took, ns);
}

/* ---- A forked child has a runtime that works ---- */

static void *child_thread(void *arg)
{
    usleep(1000);
    return arg;
}

static void op_fork(struct random *r)
{
    if (draw(r, 8))
        return;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        void *result;
        alarm(20);
        if (pthread_create(&t, NULL, child_thread, (void *)7) || pthread_join(t, &result))
            _exit(1);
        _exit(result == (void *)7 ? 42 : 2);
    }
    int status = 0;
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
                    WEXITSTATUS(status) != 42))
        fail("a forked child", status, 42 << 8);
}

/* ---- Thread-local data stays one's own ---- */

static __thread long mine;

static const struct {
    void (*run)(struct random *);
    unsigned weight;
} table[] = {
    {op_mutex, 30}, {op_put, 14}, {op_get, 15}, {op_sem, 15}, {op_rwlock, 15}, {op_futex, 15},
    {op_pair, 10}, {op_cancel, 4}, {op_sleep, 8}, {op_spin, 1}, {op_raw, 2}, {op_fork, 1},
};

static unsigned seed;
static pthread_t workers[WORKERS_MAX];
static int worker_count;
static _Atomic int working; /* may still send a signal to any worker */

static void *work(void *arg)
{
    struct random r = {((unsigned long)seed * 2654435761u + (unsigned long)(long)arg * 97) | 1};
    unsigned total = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        total += table[i].weight;
    mine = (long)arg;
    while (!atomic_load(&stop)) {
        unsigned pick = draw(&r, total);
        size_t i = 0;
        while (pick >= table[i].weight)
            pick -= table[i++].weight;
        errno = (int)i + 1;
        table[i].run(&r);
        if (mine != (long)arg)
            fail("thread-local data", mine, (long)arg);
        atomic_fetch_add(&operations, 1);
        if (draw(&r, 200) == 0 && worker_count) {
            pthread_kill(workers[draw(&r, (unsigned)worker_count)], SIGUSR1);
            atomic_fetch_add(&sent, 1);
        }
    }
    atomic_fetch_sub(&working, 1);
    return arg;
}

/* ---- Rounds ---- */

static void round_run(unsigned seconds, int n)
{
    atomic_store(&stop, false);
    worker_count = 0;
    for (int i = 0; i < n; i++) {
        atomic_fetch_add(&working, 1);
        if (pthread_create(&workers[i], NULL, work, (void *)(long)(i + 1))) {
            fail("pthread_create", errno, 0);
            atomic_fetch_sub(&working, 1);
            n = i;
        }
    }
    worker_count = n;
    for (unsigned rest = seconds; (rest = sleep(rest)) > 0;)
        ; /* a signal ends it early */
    atomic_store(&stop, true);
    while (atomic_load(&working))
        usleep(1000); /* the number of a joined thread is nobody's any more */
    for (int i = 0; i < n; i++) {
        void *result;
        int error = pthread_join(workers[i], &result);
        if (error || result != (void *)(long)(i + 1))
            fail("join of a worker", error, 0);
    }
}

int main(int argc, char **argv)
{
    long seconds = argc > 1 ? atol(argv[1]) : 5;
    seed = argc > 2 ? (unsigned)atol(argv[2]) : 1;
    int n = argc > 3 ? atoi(argv[3]) : 40;
    if (seconds < 1 || n < 1 || n > WORKERS_MAX) {
        fprintf(stderr, "stress: usage: stress SECONDS [SEED [THREADS]]\n");
        return 2;
    }
    mallopt(M_ARENA_MAX, 1); /* each takes as much address space as a few stacks */
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&counted[i].lock, NULL);
    sem_init(&places, 0, 3);
    signal(SIGUSR1, on_signal);

    round_run(1, n);
    struct held before = held_now(0);
    if (seconds > 1)
        round_run((unsigned)seconds - 1, n);

    long a = 0, left = 0;
    for (int i = 0; i < LOCKS; i++) {
        if (counted[i].a != counted[i].b)
            fail("a counter and its copy", counted[i].a, counted[i].b);
        a += counted[i].a;
    }
    if (a != atomic_load(&counted_total))
        fail("what was counted under the locks", a, atomic_load(&counted_total));
    for (unsigned i = 0; i < queue.count; i++)
        left += queue.slots[(queue.head + i) % SLOTS];
    if (atomic_load(&put_sum) != atomic_load(&got_sum) + left)
        fail("what went through the queue", atomic_load(&got_sum) + left, atomic_load(&put_sum));
    if (atomic_load(&inside) || atomic_load(&readers) || atomic_load(&writers))
        fail("somebody is still inside", 1, 0);
    struct held after = held_now(before.threads + held_threads_kept());
    held_compare(&before, &after);
    if (atomic_load(&sent) && !atomic_load(&handled))
        fail("signals handled", 0, atomic_load(&sent));
    if (atomic_load(&operations) < (unsigned long)n)
        fail("operations", (long)atomic_load(&operations), n);
    if (getenv("STRESS_VERBOSE"))
        fprintf(stderr, "stress: %lu operations, %ld signals sent, %ld handled\n",
                atomic_load(&operations), atomic_load(&sent), atomic_load(&handled));
    if (getenv("STRESS_VERBOSE"))
        fprintf(stderr, "stress: %ld descriptors, %ld OS threads, %ld KiB after a second; %ld, %ld, %ld "
                "at the end\n", before.descriptors, before.threads, before.kib, after.descriptors,
                after.threads, after.kib);
    printf("stress: %s\n", atomic_load(&failures) ? "failed" : "all adds up");
    return atomic_load(&failures) ? 1 : 0;
}
