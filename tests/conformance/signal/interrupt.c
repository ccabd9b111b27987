/* A handler that runs on a blocked thread ends the call with EINTR or lets it go on, call by call as signal(7) says. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

static int fds[2], full[2], pair[2], full_pair[2], timed_pair[2], listener, epoll, event, queue, set, locked, freed[2];
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int released, handled;
static pid_t child;
static char buffer[1 << 16];
static struct timespec minute = { 60, 0 };
static struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };

static void put_byte(void) { EXPECT_EQ(write(fds[1], "x", 1), 1); }
static void take_byte(void) { EXPECT_EQ(read(fds[0], buffer, 1), 1); }
static void send_byte(void) { EXPECT_EQ(write(pair[1], "x", 1), 1); }
static void drain_pipe(void) { EXPECT(read(full[0], buffer, sizeof buffer) > 0); }
static void drain_pair(void)
{
    EXPECT(read(full_pair[1], buffer, sizeof buffer) > 0);
    while (recv(full_pair[1], buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
}
static void nothing(void) {}

static void connect_to(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static long call_read(void) { return read(fds[0], buffer, 1); }
static long call_readv(void)
{
    struct iovec iov = { buffer, 1 };
    return readv(fds[0], &iov, 1);
}
static long call_read_socket(void) { return read(pair[0], buffer, 1); }
static long call_recv(void) { return recv(pair[0], buffer, 1, 0); }
static long call_recvfrom(void) { return recvfrom(pair[0], buffer, 1, 0, NULL, NULL); }
static long call_recvmsg(void)
{
    struct iovec iov = { buffer, 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    return recvmsg(pair[0], &message, 0);
}
static long call_recv_timeout(void) { return recv(timed_pair[0], buffer, 1, 0); }
static long call_read_eventfd(void) { return read(event, buffer, 8); }
static void raise_event(void) { EXPECT_EQ(eventfd_write(event, 1), 0); }
static long call_write(void) { return write(full[1], "x", 1); }
static long call_send(void) { return send(full_pair[0], "x", 1, 0); }
static long call_accept(void)
{
    int fd = accept(listener, NULL, NULL);
    return fd >= 0 ? close(fd) + 1 : fd;
}
static long call_poll(void)
{
    struct pollfd item = { .fd = fds[0], .events = POLLIN };
    return poll(&item, 1, -1);
}
static long call_ppoll(void)
{
    struct pollfd item = { .fd = fds[0], .events = POLLIN };
    return ppoll(&item, 1, &minute, NULL);
}
static long call_select(void)
{
    fd_set wanted;
    FD_ZERO(&wanted);
    FD_SET(fds[0], &wanted);
    return select(fds[0] + 1, &wanted, NULL, NULL, NULL);
}
static long call_epoll_wait(void)
{
    struct epoll_event got;
    return epoll_wait(epoll, &got, 1, -1);
}
static long call_sem_wait(void) { return sem_wait(&sem); }
static long call_sem_timedwait(void)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 60000);
    return sem_timedwait(&sem, &deadline);
}
static void post_sem(void) { sem_post(&sem); }
static long call_nanosleep(void) { return nanosleep(&minute, NULL); }
static long call_usleep(void) { return usleep(60000000); }
static long call_pause(void) { return pause(); }
static long call_msgrcv(void) { return msgrcv(queue, buffer, 1, 0, 0); }
static long call_semop(void)
{
    struct sembuf operation = { 0, -1, 0 };
    return semop(set, &operation, 1);
}
static long call_sigtimedwait(void)
{
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    return sigtimedwait(&other, NULL, &minute);
}
static long call_sigwaitinfo(void)
{
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    return sigwaitinfo(&other, NULL);
}
static long call_waitpid(void)
{
    pid_t got = waitpid(child, NULL, 0);
    return got > 0 ? 1 : got;
}
static void kill_child(void)
{
    kill(child, SIGKILL);
}
static long call_fcntl(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    long result = fcntl(locked, F_SETLKW, &lock);
    lock.l_type = F_UNLCK;
    fcntl(locked, F_SETLK, &lock);
    return result;
}
static long call_flock(void)
{
    long result = flock(locked, LOCK_EX);
    flock(locked, LOCK_UN);
    return result;
}
/* The child that holds both locks gives them up when it hears from us, and takes them again for the next call. */
static void free_locks(void) { EXPECT_EQ(write(freed[1], "f", 1), 1); }
static void take_locks(void)
{
    EXPECT_EQ(write(freed[1], "t", 1), 1);
    EXPECT_EQ(read(freed[1], buffer, 1), 1);
}
static long call_cond_wait(void)
{
    int error = 0;
    pthread_mutex_lock(&mutex);
    while (!released && error == 0) {
        error = pthread_cond_wait(&cond, &mutex);
    }
    released = 0;
    pthread_mutex_unlock(&mutex);
    return error;
}
static void signal_cond(void)
{
    pthread_mutex_lock(&mutex);
    released = 1;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
}
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static long call_mutex_lock(void)
{
    long result = pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return result;
}
static void unlock_gate(void)
{
    pthread_mutex_unlock(&gate);
    sched_yield();
}
static pthread_barrier_t barrier;
static long call_barrier(void)
{
    pthread_barrier_wait(&barrier);
    return 0;
}
static void meet(void) { pthread_barrier_wait(&barrier); }
static sem_t target_sem;
static pthread_t target;
static void *target_run(void *argument)
{
    while (sem_wait(&target_sem) == -1) {
    }
    return argument;
}
static long call_join(void) { return pthread_join(target, NULL); }
static void end_target(void) { sem_post(&target_sem); }

enum when { NEVER = 0, ALWAYS = 1, UNLESS_RESTARTED = 2 };

static const struct call {
    const char *name;
    long (*call)(void);
    void (*release)(void), (*after)(void);
    enum when interrupted;
} calls[] = {
    { "read pipe", call_read, put_byte, nothing, UNLESS_RESTARTED },
    { "readv", call_readv, put_byte, nothing, UNLESS_RESTARTED },
    { "read socket", call_read_socket, send_byte, nothing, UNLESS_RESTARTED },
    { "recv", call_recv, send_byte, nothing, UNLESS_RESTARTED },
    { "recvfrom", call_recvfrom, send_byte, nothing, UNLESS_RESTARTED },
    { "recvmsg", call_recvmsg, send_byte, nothing, UNLESS_RESTARTED },
    { "recv with SO_RCVTIMEO", call_recv_timeout, nothing, nothing, ALWAYS },
    { "read eventfd", call_read_eventfd, raise_event, nothing, UNLESS_RESTARTED },
    { "write pipe", call_write, drain_pipe, nothing, UNLESS_RESTARTED },
    { "send", call_send, drain_pair, nothing, UNLESS_RESTARTED },
    { "accept", call_accept, connect_to, nothing, UNLESS_RESTARTED },
    { "poll", call_poll, put_byte, take_byte, ALWAYS },
    { "ppoll", call_ppoll, put_byte, take_byte, ALWAYS },
    { "select", call_select, put_byte, take_byte, ALWAYS },
    { "epoll_wait", call_epoll_wait, put_byte, take_byte, ALWAYS },
    { "sem_wait", call_sem_wait, post_sem, nothing, UNLESS_RESTARTED },
    { "sem_timedwait", call_sem_timedwait, post_sem, nothing, ALWAYS },
    { "nanosleep", call_nanosleep, nothing, nothing, ALWAYS },
    { "usleep", call_usleep, nothing, nothing, ALWAYS },
    { "pause", call_pause, nothing, nothing, ALWAYS },
    { "msgrcv", call_msgrcv, nothing, nothing, ALWAYS },
    { "semop", call_semop, nothing, nothing, ALWAYS },
    { "sigtimedwait", call_sigtimedwait, nothing, nothing, ALWAYS },
    { "sigwaitinfo", call_sigwaitinfo, nothing, nothing, ALWAYS },
    { "fcntl F_SETLKW", call_fcntl, free_locks, take_locks, UNLESS_RESTARTED },
    { "flock", call_flock, free_locks, take_locks, UNLESS_RESTARTED },
    { "cond_wait", call_cond_wait, signal_cond, nothing, NEVER },
    { "mutex_lock", call_mutex_lock, unlock_gate, nothing, NEVER },
    { "barrier_wait", call_barrier, meet, nothing, NEVER },
    { "join", call_join, end_target, nothing, NEVER },
    { "waitpid", call_waitpid, kill_child, nothing, UNLESS_RESTARTED },
};

struct victim {
    const struct call *call;
    int done, error;
    long result;
};

static void *victim_run(void *argument)
{
    struct victim *victim = argument;
    errno = 0;
    victim->result = victim->call->call();
    victim->error = victim->result == -1 ? errno : 0;
    atomic_set(&victim->done, 1);
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    atomic_add(&handled, 1);
}

/* Holds both locks, says so, gives them up when asked to, takes them again when asked to. */
static void lock_keeper(void)
{
    char byte;
    int fd = open("locked", O_RDWR);
    do {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        fcntl(fd, F_SETLKW, &lock);
        flock(fd, LOCK_EX);
        EXPECT_EQ(write(freed[0], "r", 1), 1);
        if (read(freed[0], &byte, 1) == 1) {
            lock.l_type = F_UNLCK;
            fcntl(fd, F_SETLK, &lock);
            flock(fd, LOCK_UN);
        }
    } while (read(freed[0], &byte, 1) == 1);
}

static void fill(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, buffer, sizeof buffer) > 0 || write(fd, buffer, 1) > 0) {
    }
    fcntl(fd, F_SETFL, 0);
}

static pid_t child_start(void (*function)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        function();
        _exit(0);
    }
    return pid;
}

static void wait_for_ever(void)
{
    for (;;) {
        pause();
    }
}

static pid_t keeper;

static void set_up(void)
{
    struct timeval timeout = { 60, 0 };
    struct epoll_event interest = { .events = EPOLLIN };
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &other, NULL);
    EXPECT(pipe(fds) == 0 && pipe(full) == 0);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, full_pair) == 0);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, timed_pair) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, freed) == 0);
    EXPECT_EQ(setsockopt(timed_pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    EXPECT_EQ(listen(listener, 5), 0);
    epoll = epoll_create1(0);
    EXPECT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &interest), 0);
    event = eventfd(0, 0);
    queue = msgget(IPC_PRIVATE, 0600);
    set = semget(IPC_PRIVATE, 1, 0600);
    EXPECT(queue >= 0 && set >= 0);
    sem_init(&sem, 0, 0);
    sem_init(&target_sem, 0, 0);
    pthread_barrier_init(&barrier, NULL, 2);
    locked = open("locked", O_RDWR | O_CREAT, 0600);
    keeper = child_start(lock_keeper);
    EXPECT_EQ(read(freed[1], buffer, 1), 1);
}

static void call_try(const struct call *call, int flags)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
    struct victim victim = { .call = call };
    int ends = call->interrupted == ALWAYS || (call->interrupted == UNLESS_RESTARTED && !(flags & SA_RESTART));
    sigaction(SIGUSR1, &action, NULL);
    if (call->call == call_write) {
        fill(full[1]);
    } else if (call->call == call_send) {
        fill(full_pair[0]);
    } else if (call->call == call_mutex_lock) {
        pthread_mutex_lock(&gate);
    } else if (call->call == call_waitpid) {
        child = child_start(wait_for_ever);
    } else if (call->call == call_join) {
        target = start(target_run, NULL);
    }
    atomic_set(&handled, 0);
    pthread_t thread = start(victim_run, &victim);
    for (int i = 0; !atomic_get(&victim.done) && i < (ends || !atomic_get(&handled) ? 3000 : 10); i++) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
    }
    EXPECT(atomic_get(&handled) > 0);
    EXPECT_EQ(atomic_get(&victim.done), ends);
    if (!ends) {
        call->release();
    }
    finish(thread);
    if (ends && call->call == call_waitpid) {
        kill_child();
        EXPECT_EQ(waitpid(child, NULL, 0), child);
    } else if (!ends) {
        call->after();
    }
    printf("%s%s: %ld %s\n", call->name, flags & SA_RESTART ? ", restarted" : "", victim.result,
           strerrorname_np(victim.error));
}

static void each_call_is_interrupted_or_not(void)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        call_try(&calls[i], 0);
        call_try(&calls[i], SA_RESTART);
    }
}

static __thread sigjmp_buf out;
static __thread volatile sig_atomic_t armed;

static void on_signal_jump(int number)
{
    if (armed) {
        armed = 0;
        siglongjmp(out, number);
    }
}

/* Writes over what the call that was left had on the stack. */
static __attribute__((noinline)) int stack_use(void)
{
    volatile char area[4096];
    int sum = 0;
    memset((char *)area, 0x5a, sizeof area);
    sleep_ms(1);
    for (size_t i = 0; i < sizeof area; i++) {
        sum += area[i] != 0x5a;
    }
    return sum;
}

static void *jump_out_of_a_wait(void *argument)
{
    for (int i = 0; i < 5; i++) {
        if (sigsetjmp(out, 1) == 0) {
            armed = 1;
            flock(locked, LOCK_EX);
        }
        EXPECT_EQ(stack_use(), 0);
    }
    atomic_set(argument, 1);
    return argument;
}

static void handlers_jump_out_of_waits(void)
{
    struct sigaction action = { .sa_handler = on_signal_jump };
    int done = 0;
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread = start(jump_out_of_a_wait, &done);
    while (!atomic_get(&done)) {
        sleep_ms(2);
        pthread_kill(thread, SIGUSR1);
    }
    EXPECT(finish(thread) == &done);
}

static void *main_thread_kill(void *argument)
{
    for (int i = 0; i < 10; i++) {
        sleep_ms(2);
        pthread_kill(*(pthread_t *)argument, SIGUSR1);
    }
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    return NULL;
}

static void the_main_thread_too(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    pthread_t self = pthread_self();
    char byte;
    sigaction(SIGUSR1, &action, NULL);
    atomic_set(&handled, 0);
    pthread_t thread = start(main_thread_kill, &self);
    int interrupted = 0;
    while (read(fds[0], &byte, 1) == -1) {
        EXPECT_EQ(errno, EINTR);
        interrupted++;
    }
    finish(thread);
    EXPECT(atomic_get(&handled) > 0);
    EXPECT(interrupted > 0);
}

static void tear_down(void)
{
    kill(keeper, SIGKILL);
    EXPECT_EQ(waitpid(keeper, NULL, 0), keeper);
    EXPECT_EQ(msgctl(queue, IPC_RMID, NULL), 0);
    EXPECT_EQ(semctl(set, 0, IPC_RMID), 0);
}

static const struct check checks[] = {
    CHECK(set_up),
    CHECK(each_call_is_interrupted_or_not),
    CHECK(the_main_thread_too),
    CHECK(handlers_jump_out_of_waits),
    CHECK(tear_down),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
