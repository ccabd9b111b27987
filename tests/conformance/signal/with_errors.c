/* Signals that the kernel sends with an error (SIGPIPE, SIGXFSZ) are for the thread that made the call:
 * while that thread blocks them they wait for it and come to no other, whatever runs meanwhile. */
#include <sched.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static ssize_t by_write(int fd)
{
    return write(fd, "x", 1);
}

static ssize_t by_writev(int fd)
{
    struct iovec parts[] = {{"x", 1}, {"y", 1}};
    return writev(fd, parts, 2);
}

static ssize_t by_send(int fd)
{
    return send(fd, "x", 1, MSG_DONTWAIT);
}

static ssize_t by_sendmsg(int fd)
{
    struct iovec part = {"x", 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &header, 0);
}

static ssize_t by_sendfile(int fd)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t n = sendfile(fd, file, NULL, 100);
    int error = errno;
    close(file);
    errno = error;
    return n;
}

static ssize_t by_splice(int fd)
{
    int pipes[2];
    MUST(pipe(pipes));
    MUST(by_write(pipes[1]));
    ssize_t n = splice(pipes[0], NULL, fd, NULL, 1, 0);
    int error = errno;
    net_close(pipes);
    errno = error;
    return n;
}

/* What is written to, and how. */
static int socket_widow(void)
{
    int pair[2];
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    close(pair[1]);
    return pair[0];
}

static int pipe_widow(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    close(pipes[0]);
    return pipes[1];
}

static const struct form {
    const char *name;
    int (*widow)(void);
    ssize_t (*call)(int fd);
} forms[] = {
    {"write", socket_widow, by_write},       {"writev", socket_widow, by_writev},
    {"send", socket_widow, by_send},         {"sendmsg", socket_widow, by_sendmsg},
    {"sendfile", socket_widow, by_sendfile}, {"splice", socket_widow, by_splice},
    {"write, pipe", pipe_widow, by_write},   {"writev, pipe", pipe_widow, by_writev},
};

static sem_t failed, looked;

static void *fail_blocked(void *arg)
{
    const struct form *form = arg;
    sigset_t pipe_only, pending;
    int fd = form->widow();
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    FAILS(form->call(fd), EPIPE, "blocked");
    sem_post(&failed);
    while (sem_wait(&looked)) {
    }
    sigpending(&pending);
    EQUALS(sigismember(&pending, SIGPIPE), 1, "it waits for who made the call");
    EQUALS(signal_count, 0, "and has come to nobody");
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
    EQUALS(signal_count, 1, "until it is let in");
    HOLDS(pthread_equal(signal_thread, pthread_self()), "there");
    close(fd);
    return NULL;
}

static void blocked(void)
{
    signal_catch(SIGPIPE, SA_RESTART);
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        check_current = forms[f].name;
        sem_init(&failed, 0, 0);
        sem_init(&looked, 0, 0);
        signal_count = 0;
        pthread_t writer = start(fail_blocked, (void *)(uintptr_t)&forms[f]);
        while (sem_wait(&failed)) {
        }
        sched_yield();
        usleep(2000);
        sigset_t pending;
        sigpending(&pending);
        EQUALS(sigismember(&pending, SIGPIPE), 0, "nothing is pending elsewhere");
        EQUALS(signal_count, 0, "and no handler has run");
        sem_post(&looked);
        finish(writer);
    }
}

/* With the default action another thread would take the process with it. */
static void *fail_and_end(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    int (*fails)(void) = *(int (**)(void))arg;
    for (int i = 0; i < 3; i++) {
        if (!fails())
            return (void *)1;
        usleep(1000);
    }
    return NULL;
}

static int end_with(int (*fails)(void))
{
    void *result = finish(start(fail_and_end, &fails));
    usleep(2000);
    return result ? 3 : 0;
}

static int broken_pipe(void)
{
    int fd = pipe_widow();
    bool as_expected = by_write(fd) == -1 && errno == EPIPE;
    close(fd);
    return as_expected;
}

static int file_too_large(void)
{
    FILE *f = tmpfile();
    bool as_expected = f && pwrite(fileno(f), "xyz", 3, 10) == -1 && errno == EFBIG &&
                       lseek(fileno(f), 5, SEEK_SET) == 5 && by_write(fileno(f)) == -1 && errno == EFBIG;
    if (f)
        fclose(f);
    return as_expected;
}

static int end_with_broken_pipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    return end_with(broken_pipe);
}

static int end_with_file_too_large(void)
{
    struct rlimit limit = {4, 4};
    setrlimit(RLIMIT_FSIZE, &limit);
    return end_with(file_too_large);
}

static void ended(void)
{
    EXPECT_EXITS(child_run(end_with_broken_pipe), 0);
    EXPECT_EXITS(child_run(end_with_file_too_large), 0);
}

static const struct check checks[] = {CHECK(blocked), CHECK(ended)};

TICKING_MAIN(checks)
