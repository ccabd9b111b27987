/* signalfd: reading waits for a blocked signal to come and takes it. */
#include <poll.h>
#include <sys/signalfd.h>

#include "kit/expect.h"
#include "kit/threads.h"

static sigset_t usr;

static void set_up(void)
{
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    sigaddset(&usr, SIGUSR2);
    sigaddset(&usr, SIGRTMIN + 1);
    pthread_sigmask(SIG_BLOCK, &usr, NULL);
}

static void to_process(void *arg)
{
    MUST(kill(getpid(), *(int *)arg));
}

struct target {
    pthread_t thread;
};

static void to_thread(void *arg)
{
    pthread_kill(((struct target *)arg)->thread, SIGUSR2);
}

static void queue_value(void *unused)
{
    union sigval value = {.sival_int = 4711};
    (void)unused;
    MUST(sigqueue(getpid(), SIGRTMIN + 1, value));
}

static void reading(void)
{
    struct signalfd_siginfo info[4];
    int number = SIGUSR1;
    ssize_t n;
    set_up();
    int fd = MUST(signalfd(-1, &usr, SFD_CLOEXEC));
    EQUALS(fcntl(fd, F_GETFD), FD_CLOEXEC, "SFD_CLOEXEC");
    WHILE(to_process, &number, n = read(fd, info, sizeof(info)));
    EQUALS(n, sizeof(info[0]), "read waits for a signal to the process");
    EQUALS(info[0].ssi_signo, SIGUSR1, "the signal");
    EQUALS(info[0].ssi_pid, getpid(), "its sender");
    struct target self = {pthread_self()};
    WHILE(to_thread, &self, n = read(fd, info, sizeof(info)));
    EQUALS(n, sizeof(info[0]), "read waits for a signal to this thread");
    EQUALS(info[0].ssi_signo, SIGUSR2, "the signal");
    WHILE(queue_value, NULL, n = read(fd, info, sizeof(info)));
    EQUALS(n, sizeof(info[0]), "read waits for a queued signal");
    EQUALS(info[0].ssi_int, 4711, "its value");
    EQUALS(info[0].ssi_code, SI_QUEUE, "its code");
    MUST(kill(getpid(), SIGUSR1));
    MUST(kill(getpid(), SIGUSR2));
    EQUALS(read(fd, info, sizeof(info)), 2 * (ssize_t)sizeof(info[0]), "two that are there");
    HOLDS(info[0].ssi_signo == SIGUSR1 && info[1].ssi_signo == SIGUSR2, "in order");
    FAILS(read(fd, info, 4), EINVAL, "too little room");
    struct pollfd wait = {fd, POLLIN, 0};
    int ready;
    WHILE(to_process, &number, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll waits for a signal");
    EQUALS(read(fd, info, sizeof(info)), sizeof(info[0]), "which read takes");
    EQUALS(fcntl(fd, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(read(fd, info, sizeof(info)), EAGAIN, "O_NONBLOCK");
    close(fd);
}

static int reader_fd;
static atomic_int got_signals;

static void *reader(void *unused)
{
    struct signalfd_siginfo info;
    (void)unused;
    while (read(reader_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGUSR2)
            return NULL;
        atomic_fetch_add(&got_signals, 1);
    }
    return NULL;
}

/* A thread that does nothing but this, as daemons have. */
static void signal_thread_of_a_daemon(void)
{
    set_up();
    atomic_store(&got_signals, 0);
    reader_fd = MUST(signalfd(-1, &usr, 0));
    pthread_t thread = start(reader, NULL);
    for (int i = 1; i <= 10; i++) {
        MUST(kill(getpid(), SIGUSR1));
        for (int j = 0; j < 2000 && atomic_load(&got_signals) < i; j++)
            sleep_ms(1);
        EQUALS(atomic_load(&got_signals), i, "the thread got it");
    }
    MUST(kill(getpid(), SIGUSR2));
    finish(thread);
    close(reader_fd);
}

static void change_mask(void)
{
    struct signalfd_siginfo info;
    sigset_t one;
    set_up();
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    int fd = MUST(signalfd(-1, &one, SFD_NONBLOCK));
    MUST(kill(getpid(), SIGUSR2));
    FAILS(read(fd, &info, sizeof(info)), EAGAIN, "a signal that it does not take");
    EQUALS(signalfd(fd, &usr, 0), fd, "another mask");
    EQUALS(read(fd, &info, sizeof(info)), sizeof(info), "now it does");
    FAILS(signalfd(-1, &one, 0x10), EINVAL, "an unknown flag");
    FAILS(signalfd(STDOUT_FILENO, &one, 0), EINVAL, "no signalfd");
    FAILS(signalfd(12345, &one, 0), EBADF, "a closed descriptor");
    close(fd);
}

static const struct check checks[] = {CHECK(reading), CHECK(signal_thread_of_a_daemon),
                                      CHECK(change_mask)};

TICKING_MAIN(checks)
