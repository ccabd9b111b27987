/* Threads that go on while another one is blocked.
 *
 * ticker    counts while it can run at all.
 * later     does one thing once its maker looks blocked and the ticker has moved since: if a
 *           blocked call stopped the other threads, the program would hang, and be caught.
 * kicker    sends a signal again and again until told to stop, because one that comes before
 *           the call is entered interrupts nothing. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include "expect.h"

static atomic_ulong ticker_count;
static atomic_bool ticker_ends;
static pthread_t ticker_thread;

static void *ticker_body(void *unused)
{
    (void)unused;
    while (!atomic_load(&ticker_ends)) {
        sleep_ms(1);
        atomic_fetch_add(&ticker_count, 1);
    }
    return NULL;
}

KIT_UNUSED static void ticker_start(void)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    atomic_store(&ticker_ends, false);
    ticker_thread = start(ticker_body, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

KIT_UNUSED static void ticker_stop(void)
{
    atomic_store(&ticker_ends, true);
    finish(ticker_thread);
}

/* Returns when the ticker has moved on by ticks since the call. */
KIT_UNUSED static void ticker_wait(unsigned long ticks)
{
    unsigned long goal = atomic_load(&ticker_count) + ticks;
    while ((long)(atomic_load(&ticker_count) - goal) < 0)
        sleep_ms(1);
}

/* The ticker's count, for a call without a peer: take it before, see OTHERS_RAN after. */
KIT_UNUSED static unsigned long ticker_now(void)
{
    return atomic_load(&ticker_count);
}

/* The ticker moved during the call that was made since ticks = ticker_now(). A busy machine may
 * have kept it from running for that long: then it must during one of the same calls made again. */
#define OTHERS_RAN(ticks, again)                                                                   \
    do {                                                                                           \
        unsigned long others_ticks = (ticks);                                                      \
        for (int others_i = 0; others_i < 20 && ticker_now() == others_ticks; others_i++)          \
            (void)(again);                                                                         \
        HOLDS(ticker_now() != others_ticks, "others ran meanwhile");                               \
    } while (0)

/* How a thread's state is told: by /proc where the thread has a directory there that is its own
 * (the caller's kernel thread is then another one), else by time. */
static bool threads_state(pid_t tid, char *state)
{
    char path[64], text[512], own[32];
    ssize_t n = readlink("/proc/thread-self", text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    snprintf(own, sizeof(own), "/task/%d", (int)tid);
    const char *task = strstr(text, "/task/");
    if (task == NULL || strcmp(task, own) == 0)
        return false;
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    if (end == NULL || end[1] == '\0')
        return false;
    *state = end[2];
    return true;
}

/* Set by a program whose descriptor numbers must not be disturbed: then time alone decides. */
static bool settle_by_time;

/* Waits until the thread has probably gone to sleep in its call. A test stays right if it had not;
 * it then shows less. */
KIT_UNUSED static void settle(pid_t tid)
{
    int asleep = 0;
    ticker_wait(8);
    for (int i = 0; i < 400 && asleep < 3; i++) {
        char state = '?';
        if (settle_by_time || !threads_state(tid, &state)) {
            sleep_ms(20);
            ticker_wait(8);
            return;
        }
        asleep = state == 'S' || state == 'D' ? asleep + 1 : 0;
        sleep_ms(2);
    }
}

struct later {
    void (*act)(void *);
    void *arg;
    pid_t tid;
    pthread_t thread;
};

static void *later_body(void *arg)
{
    struct later *later = arg;
    settle(later->tid);
    later->act(later->arg);
    return NULL;
}

/* Starts a thread that calls act(arg) once the calling thread has settled in its next call.
 * Signals stay away from that thread, so that they find the blocked one. */
KIT_UNUSED static void later_start(struct later *later, void (*act)(void *), void *arg)
{
    sigset_t all, old;
    later->act = act;
    later->arg = arg;
    later->tid = (pid_t)syscall(SYS_gettid);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    later->thread = start(later_body, later);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

KIT_UNUSED static void later_join(struct later *later)
{
    finish(later->thread);
}

/* Runs one blocking expression while another thread does act(arg). */
#define WHILE(act, arg, statement)                                                                 \
    do {                                                                                           \
        struct later while_later;                                                                  \
        later_start(&while_later, act, arg);                                                       \
        statement;                                                                                 \
        int while_errno = errno;                                                                   \
        later_join(&while_later);                                                                  \
        errno = while_errno;                                                                       \
    } while (0)

/* A thread that another one watches going to sleep: call from its body just before the call. */
struct sleeper {
    _Atomic pid_t tid;
};

KIT_UNUSED static void sleeper_here(struct sleeper *sleeper)
{
    atomic_store(&sleeper->tid, (pid_t)syscall(SYS_gettid));
}

KIT_UNUSED static void sleeper_settle(struct sleeper *sleeper)
{
    while (atomic_load(&sleeper->tid) == 0)
        sleep_ms(1);
    settle(atomic_load(&sleeper->tid));
}

/* Signals. Handlers count; nothing else happens in them. */
static volatile sig_atomic_t signal_count;
static pthread_t signal_thread;

static void signal_counted(int number)
{
    (void)number;
    signal_thread = pthread_self();
    signal_count = signal_count + 1;
}

KIT_UNUSED static void signal_catch(int number, int flags)
{
    struct sigaction action = {.sa_handler = signal_counted, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    MUST(sigaction(number, &action, NULL));
}

struct kicker {
    pthread_t target, thread;
    pid_t tid;
    int number;
    atomic_bool ends;
};

static void *kicker_body(void *arg)
{
    struct kicker *kicker = arg;
    settle(kicker->tid);
    while (!atomic_load(&kicker->ends)) {
        pthread_kill(kicker->target, kicker->number);
        sleep_ms(10);
    }
    return NULL;
}

/* Starts a thread that sends the signal to the calling thread until kicker_stop. */
KIT_UNUSED static void kicker_start(struct kicker *kicker, int number)
{
    sigset_t all, old;
    kicker->target = pthread_self();
    kicker->tid = (pid_t)syscall(SYS_gettid);
    kicker->number = number;
    atomic_store(&kicker->ends, false);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    kicker->thread = start(kicker_body, kicker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

KIT_UNUSED static void kicker_stop(struct kicker *kicker)
{
    int error = errno;
    atomic_store(&kicker->ends, true);
    finish(kicker->thread);
    errno = error;
}

/* Runs one blocking expression while signals arrive at this thread. */
#define KICKED(number, statement)                                                                  \
    do {                                                                                           \
        struct kicker kicked;                                                                      \
        kicker_start(&kicked, number);                                                             \
        statement;                                                                                 \
        kicker_stop(&kicked);                                                                      \
    } while (0)

/* A main that runs the table beside the ticker. */
#define TICKING_MAIN(table)                                                                        \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        ticker_start();                                                                            \
        int status = CHECKS_RUN(table, argc, argv);                                                \
        ticker_stop();                                                                             \
        return status;                                                                             \
    }
