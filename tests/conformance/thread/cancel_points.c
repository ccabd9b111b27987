/*
 * Deferred cancellation at each call that POSIX or glibc makes a cancellation point: of a thread that is blocked in it,
 * and of a thread that comes to it with a cancellation pending. Cleanup handlers run, the thread's value is
 * PTHREAD_CANCELED.
 */
#include "check.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <threads.h>

static int empty_pipe[2], full_pipe[2], empty_pair[2], full_pair[2], other_pipe[2];
static int listener, full_listener, epoll, event, locked_file, queue;
static mqd_t mqueue;
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t sleepers[2];
static sem_t sleeper_sem;
static pid_t child;
static struct sockaddr_un full_address = { .sun_family = AF_UNIX, .sun_path = "full" };
static sigset_t usr1;
static char buffer[1 << 16];
static struct iovec iov = { buffer, sizeof buffer };
static struct timespec hour = { 3600, 0 };

static struct timespec in_an_hour(clockid_t clock)
{
    return ms_from_now(clock, 3600000);
}

static void *wait_on_sleeper_sem(void *argument)
{
    sem_wait(&sleeper_sem);
    return argument;
}

static void call_testcancel(void)
{
    sched_yield();
    pthread_testcancel();
}
static void call_sleep(void) { sleep(3600); }
static void call_usleep(void) { usleep(900000000); }
static void call_nanosleep(void) { nanosleep(&hour, NULL); }
static void call_clock_nanosleep(void) { clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL); }
static void call_clock_nanosleep_abs(void)
{
    struct timespec deadline = in_an_hour(CLOCK_REALTIME);
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &deadline, NULL);
}
static void call_thrd_sleep(void) { thrd_sleep(&hour, NULL); }
static void call_read_pipe(void) { EXPECT(read(empty_pipe[0], buffer, 1) != 1); }
static void call_read_socket(void) { EXPECT(read(empty_pair[0], buffer, 1) != 1); }
static void call_read_eventfd(void) { EXPECT(read(event, buffer, 8) != 8); }
static void call_readv(void) { EXPECT(readv(empty_pipe[0], &iov, 1) != 1); }
static void call_recv(void) { recv(empty_pair[0], buffer, 1, 0); }
static void call_recv_waitall(void) { recv(empty_pair[0], buffer, 100, MSG_WAITALL); }
static void call_recvfrom(void) { recvfrom(empty_pair[0], buffer, 1, 0, NULL, NULL); }
static void call_recvmsg(void)
{
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    recvmsg(empty_pair[0], &message, 0);
}
static void call_recvmmsg(void)
{
    struct mmsghdr message = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };
    recvmmsg(empty_pair[0], &message, 1, 0, NULL);
}
static void call_accept(void) { accept(listener, NULL, NULL); }
static void call_accept4(void) { accept4(listener, NULL, NULL, SOCK_CLOEXEC); }
static void call_connect(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connect(fd, (struct sockaddr *)&full_address, sizeof full_address);
}
static void call_write_pipe(void) { EXPECT(write(full_pipe[1], buffer, 1) != 1); }
static void call_writev(void) { EXPECT(writev(full_pipe[1], &iov, 1) != 1); }
static void call_write_socket(void) { EXPECT(write(full_pair[0], buffer, sizeof buffer) < 1); }
static void call_send(void) { send(full_pair[0], buffer, sizeof buffer, 0); }
static void call_sendto(void) { sendto(full_pair[0], buffer, sizeof buffer, 0, NULL, 0); }
static void call_sendmsg(void)
{
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    sendmsg(full_pair[0], &message, 0);
}
static void call_sendmmsg(void)
{
    struct mmsghdr message = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };
    sendmmsg(full_pair[0], &message, 1, 0);
}
static void call_splice(void) { splice(empty_pipe[0], NULL, other_pipe[1], NULL, 100, 0); }
static void call_poll(void)
{
    struct pollfd fd = { .fd = empty_pipe[0], .events = POLLIN };
    poll(&fd, 1, -1);
}
static void call_poll_nothing(void) { poll(NULL, 0, 3600000); }
static void call_ppoll(void)
{
    struct pollfd fd = { .fd = empty_pair[0], .events = POLLIN };
    ppoll(&fd, 1, &hour, NULL);
}
static void call_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(empty_pipe[0], &set);
    select(empty_pipe[0] + 1, &set, NULL, NULL, NULL);
}
static void call_pselect(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(empty_pipe[0], &set);
    pselect(empty_pipe[0] + 1, &set, NULL, NULL, &hour, NULL);
}
static void call_epoll_wait(void)
{
    struct epoll_event got;
    epoll_wait(epoll, &got, 1, -1);
}
static void call_epoll_pwait(void)
{
    struct epoll_event got;
    epoll_pwait(epoll, &got, 1, 3600000, NULL);
}
static void call_sem_wait(void) { sem_wait(&sem); }
static void call_sem_timedwait(void)
{
    struct timespec deadline = in_an_hour(CLOCK_REALTIME);
    sem_timedwait(&sem, &deadline);
}
static void call_sem_clockwait(void)
{
    struct timespec deadline = in_an_hour(CLOCK_MONOTONIC);
    sem_clockwait(&sem, CLOCK_MONOTONIC, &deadline);
}
static void unlock_mutex(void *argument)
{
    (void)argument;
    EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}
static void call_cond_wait(void)
{
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock_mutex, NULL);
    for (;;) {
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_cleanup_pop(1);
}
static void call_cond_timedwait(void)
{
    struct timespec deadline = in_an_hour(CLOCK_REALTIME);
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock_mutex, NULL);
    while (pthread_cond_timedwait(&cond, &mutex, &deadline) == 0) {
    }
    pthread_cleanup_pop(1);
}
static void call_cond_clockwait(void)
{
    struct timespec deadline = in_an_hour(CLOCK_MONOTONIC);
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock_mutex, NULL);
    while (pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &deadline) == 0) {
    }
    pthread_cleanup_pop(1);
}
static void call_join(void) { pthread_join(sleepers[0], NULL); }
static void call_timedjoin(void)
{
    struct timespec deadline = in_an_hour(CLOCK_REALTIME);
    pthread_timedjoin_np(sleepers[1], NULL, &deadline);
}
static void call_sigwait(void)
{
    int got;
    sigwait(&usr1, &got);
}
static void call_sigwaitinfo(void) { sigwaitinfo(&usr1, NULL); }
static void call_sigtimedwait(void) { sigtimedwait(&usr1, NULL, &hour); }
static void call_sigsuspend(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigsuspend(&none);
}
static void call_pause(void) { pause(); }
static void call_waitpid(void) { waitpid(child, NULL, 0); }
static void call_waitid(void)
{
    siginfo_t info;
    waitid(P_PID, (id_t)child, &info, WEXITED);
}
static void call_wait4(void) { wait4(child, NULL, 0, NULL); }
static void call_wait(void) { wait(NULL); }
static void call_msgrcv(void) { msgrcv(queue, buffer, 8, 0, 0); }
static void call_mq_receive(void) { mq_receive(mqueue, buffer, sizeof buffer, NULL); }
static void call_fcntl_lock(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    fcntl(locked_file, F_SETLKW, &lock);
}
static void call_lockf(void) { EXPECT(lockf(locked_file, F_LOCK, 0) != 0); }
static void call_open_fifo(void) { open("fifo", O_RDONLY); }
static void call_system(void) { EXPECT(system("exec sleep 3600") != 0); }

static const struct point {
    const char *name;
    void (*call)(void);
} points[] = {
#define POINT(name) { #name, call_##name }
    POINT(testcancel), POINT(sleep), POINT(usleep), POINT(nanosleep), POINT(clock_nanosleep),
    POINT(clock_nanosleep_abs), POINT(thrd_sleep), POINT(read_pipe), POINT(read_socket), POINT(read_eventfd),
    POINT(readv), POINT(recv), POINT(recv_waitall), POINT(recvfrom), POINT(recvmsg), POINT(recvmmsg), POINT(accept),
    POINT(accept4), POINT(connect), POINT(write_pipe), POINT(writev), POINT(write_socket), POINT(send), POINT(sendto),
    POINT(sendmsg), POINT(sendmmsg), POINT(splice), POINT(poll), POINT(poll_nothing), POINT(ppoll), POINT(select),
    POINT(pselect), POINT(epoll_wait), POINT(epoll_pwait), POINT(sem_wait), POINT(sem_timedwait), POINT(sem_clockwait),
    POINT(cond_wait), POINT(cond_timedwait), POINT(cond_clockwait), POINT(join), POINT(timedjoin), POINT(sigwait),
    POINT(sigwaitinfo), POINT(sigtimedwait), POINT(sigsuspend), POINT(pause), POINT(waitpid), POINT(waitid),
    POINT(wait4), POINT(wait), POINT(msgrcv), POINT(mq_receive), POINT(fcntl_lock), POINT(lockf), POINT(open_fifo),
    POINT(system),
};
enum { POINTS = sizeof points / sizeof points[0] };

struct victim {
    const struct point *point;
    int pending, cleaned, returned;
};

static void mark_cleaned(void *argument)
{
    ((struct victim *)argument)->cleaned++;
}

static void *victim_run(void *argument)
{
    struct victim *victim = argument;
    pthread_cleanup_push(mark_cleaned, victim);
    if (victim->pending) {
        pthread_cancel(pthread_self());
    }
    do {
        victim->point->call();
    } while (victim->point->call == call_testcancel && !victim->pending);
    victim->returned = 1;
    pthread_cleanup_pop(0);
    return NULL;
}

static void fill(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, buffer, sizeof buffer) > 0 || write(fd, buffer, 1) > 0) {
    }
    EXPECT_EQ(errno, EAGAIN);
    fcntl(fd, F_SETFL, 0);
}

static int listen_on(struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    EXPECT_EQ(listen(fd, 1), 0);
    return fd;
}

static void set_up(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "listener" };
    struct epoll_event interest = { .events = EPOLLIN };
    int fd, ready[2];

    EXPECT(pipe(empty_pipe) == 0 && pipe(full_pipe) == 0 && pipe(other_pipe) == 0 && pipe(ready) == 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, empty_pair), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, full_pair), 0);
    fill(full_pipe[1]);
    fill(full_pair[0]);
    listener = listen_on(&address);
    full_listener = listen_on(&full_address);
    do {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    } while (connect(fd, (struct sockaddr *)&full_address, sizeof full_address) == 0);
    EXPECT_EQ(errno, EAGAIN);
    event = eventfd(0, 0);
    epoll = epoll_create1(0);
    EXPECT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, empty_pipe[0], &interest), 0);
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    queue = msgget(IPC_PRIVATE, 0600);
    char name[32];
    snprintf(name, sizeof name, "/conformance.%d", getpid());
    mqueue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL);
    EXPECT(mqueue != (mqd_t)-1);
    mq_unlink(name);
    sem_init(&sem, 0, 0);
    sem_init(&sleeper_sem, 0, 0);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    locked_file = open("locked", O_RDWR | O_CREAT, 0600);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        char byte = 0;
        EXPECT_EQ(lockf(locked_file, F_LOCK, 0), 0);
        EXPECT_EQ(write(ready[1], &byte, 1), 1);
        sleep(30);
        _exit(0);
    }
    EXPECT_EQ(read(ready[0], buffer, 1), 1);
    sleepers[0] = start(wait_on_sleeper_sem, &sem);
    sleepers[1] = start(wait_on_sleeper_sem, &sem);
}

/* All at once, because each has to be given time to block. */
static void points_cancel(int first, int end, int pending)
{
    static struct victim victims[POINTS];
    static pthread_t threads[POINTS];
    for (int i = first; i < end; i++) {
        victims[i] = (struct victim){ .point = &points[i], .pending = pending };
        threads[i] = start(victim_run, &victims[i]);
    }
    if (!pending) {
        sleep_ms(100);
        for (int i = first; i < end; i++) {
            EXPECT_EQ(pthread_cancel(threads[i]), 0);
        }
    }
    for (int i = first; i < end; i++) {
        void *value = finish(threads[i]);
        int good = value == PTHREAD_CANCELED && victims[i].cleaned == 1 && !victims[i].returned;
        printf("%s %s%s\n", good ? "ok" : "FAIL", points[i].name, pending ? " pending" : "");
        EXPECT(good);
    }
}

static void blocked_threads_are_cancelled(void)
{
    points_cancel(0, POINTS - 1, 0);
}

static void pending_cancellation_acts_at_the_call(void)
{
    points_cancel(0, POINTS - 1, 1);
}

/* By itself: the child that it kills could end a wait() beside it. */
static void system_is_cancelled(void)
{
    points_cancel(POINTS - 1, POINTS, 0);
    points_cancel(POINTS - 1, POINTS, 1);
    EXPECT_EQ(waitpid(-1, NULL, WNOHANG), 0);
}

static void what_they_waited_for_is_unharmed(void)
{
    int value;
    struct pollfd fds[2] = { { .fd = empty_pipe[0], .events = POLLIN }, { .fd = empty_pair[0], .events = POLLIN } };
    EXPECT_EQ(poll(fds, 2, 0), 0);
    EXPECT_EQ(sem_getvalue(&sem, &value), 0);
    EXPECT_EQ(value, 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    EXPECT_EQ(write(empty_pipe[1], "x", 1), 1);
    EXPECT_EQ(read(empty_pipe[0], buffer, 10), 1);
    EXPECT_EQ(send(empty_pair[1], "y", 1, 0), 1);
    EXPECT_EQ(recv(empty_pair[0], buffer, 10, 0), 1);
    sem_post(&sleeper_sem);
    sem_post(&sleeper_sem);
    for (int i = 0; i < 2; i++) {
        EXPECT(finish(sleepers[i]) == &sem);
    }
    EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
}

static void tear_down(void)
{
    EXPECT_EQ(kill(child, SIGKILL), 0);
    EXPECT_EQ(waitpid(child, NULL, 0), child);
    EXPECT_EQ(msgctl(queue, IPC_RMID, NULL), 0);
}

static const struct check checks[] = {
    CHECK(set_up),
    CHECK(blocked_threads_are_cancelled),
    CHECK(pending_cancellation_acts_at_the_call),
    CHECK(system_is_cancelled),
    CHECK(what_they_waited_for_is_unharmed),
    CHECK(tear_down),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
