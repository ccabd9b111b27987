/* Record locks: F_SETLKW between processes (the owner is the process: threads of one never
 * exclude each other), F_OFD_SETLKW between threads, lockf, deadlock, signals. */
#include <sys/wait.h>

#include "kit/expect.h"
#include "kit/threads.h"

static char path[64];

static int lock_call(int fd, int command, short type, off_t from, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
    return fcntl(fd, command, &lock);
}

static int file_open(void)
{
    snprintf(path, sizeof(path), "locked-%d", (int)getpid());
    return MUST(open(path, O_RDWR | O_CREAT, 0600));
}

struct talk {
    int fd, to_child[2], to_parent[2];
    pid_t child;
};

/* The child locks the file, says so, waits to be told, unlocks (or ends). */
static void holder_start(struct talk *talk)
{
    char c = 0;
    MUST(pipe(talk->to_child));
    MUST(pipe(talk->to_parent));
    talk->child = MUST(fork());
    if (talk->child == 0) {
        int fd = open(path, O_RDWR);
        if (lock_call(fd, F_SETLKW, F_WRLCK, 0, 10) != 0)
            _exit(1);
        if (write(talk->to_parent[1], "l", 1) != 1 || read(talk->to_child[0], &c, 1) != 1)
            _exit(2);
        if (c == 'u' && lock_call(fd, F_SETLKW, F_UNLCK, 0, 10) != 0)
            _exit(3);
        if (c == 'u' && read(talk->to_child[0], &c, 1) != 1)
            _exit(4);
        _exit(0);
    }
    EQUALS(read(talk->to_parent[0], &c, 1), 1, "the child holds the lock");
}

static void tell(void *arg)
{
    struct talk *talk = arg;
    MUST(write(talk->to_child[1], "u", 1));
}

static void tell_to_end(void *arg)
{
    struct talk *talk = arg;
    MUST(write(talk->to_child[1], "e", 1));
}

static void holder_end(struct talk *talk)
{
    int status = -1;
    MUST(waitpid(talk->child, &status, 0));
    EXPECT_EXITS(status, 0);
    for (int i = 0; i < 2; i++) {
        close(talk->to_child[i]);
        close(talk->to_parent[i]);
    }
}

static void between_processes(void)
{
    struct talk talk;
    int fd = file_open(), result;
    holder_start(&talk);
    FAILS(lock_call(fd, F_SETLK, F_WRLCK, 5, 1), EAGAIN, "F_SETLK does not wait");
    EQUALS(lock_call(fd, F_SETLK, F_WRLCK, 10, 5), 0, "elsewhere it locks");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    EQUALS(fcntl(fd, F_GETLK, &lock), 0, "F_GETLK");
    EQUALS(lock.l_pid, talk.child, "tells who");
    EQUALS(lock.l_type, F_WRLCK, "and how");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = lock_call(fd, F_SETLKW, F_WRLCK, 5, 1));
    FAILS(result, EINTR, "a signal interrupts F_SETLKW");
    WHILE(tell, &talk, result = lock_call(fd, F_SETLKW, F_WRLCK, 5, 1));
    EQUALS(result, 0, "F_SETLKW waits for the other process to unlock");
    tell_to_end(&talk);
    holder_end(&talk);
    EQUALS(lock_call(fd, F_SETLK, F_UNLCK, 0, 0), 0, "unlock");
    holder_start(&talk);
    WHILE(tell_to_end, &talk, result = lock_call(fd, F_SETLKW, F_WRLCK, 0, 0));
    EQUALS(result, 0, "or for its end");
    holder_end(&talk);
    close(fd);
    unlink(path);
}

static void lockf_form(void)
{
    struct talk talk;
    int fd = file_open(), result;
    holder_start(&talk);
    FAILS(lockf(fd, F_TLOCK, 5), EAGAIN, "F_TLOCK does not wait");
    FAILS(lockf(fd, F_TEST, 5), EACCES, "F_TEST");
    WHILE(tell, &talk, result = lockf(fd, F_LOCK, 5));
    EQUALS(result, 0, "F_LOCK waits");
    EQUALS(lockf(fd, F_TEST, 5), 0, "F_TEST of one's own");
    EQUALS(lockf(fd, F_ULOCK, 5), 0, "F_ULOCK");
    FAILS(lockf(fd, 99, 5), EINVAL, "an unknown command");
    tell_to_end(&talk);
    holder_end(&talk);
    close(fd);
    unlink(path);
}

/* The threads of one process own the lock together. */
static void *lock_too(void *arg)
{
    EQUALS(lock_call(*(int *)arg, F_SETLKW, F_WRLCK, 0, 0), 0, "another thread locks as well");
    return NULL;
}

static void one_owner(void)
{
    int fd = file_open();
    EQUALS(lock_call(fd, F_SETLKW, F_WRLCK, 0, 0), 0, "lock");
    finish(start(lock_too, &fd));
    close(fd);
    unlink(path);
}

/* Open file description locks: each open is an owner. */
static void unlock_description(void *arg)
{
    EQUALS(lock_call(*(int *)arg, F_OFD_SETLK, F_UNLCK, 0, 0), 0, "unlock");
}

static void close_description(void *arg)
{
    close(*(int *)arg);
}

static void descriptions(void)
{
    int one = file_open(), two = MUST(open(path, O_RDWR)), result;
    EQUALS(lock_call(one, F_OFD_SETLKW, F_WRLCK, 0, 0), 0, "lock");
    FAILS(lock_call(two, F_OFD_SETLK, F_WRLCK, 0, 0), EAGAIN, "F_OFD_SETLK does not wait");
    WHILE(unlock_description, &one, result = lock_call(two, F_OFD_SETLKW, F_WRLCK, 0, 0));
    EQUALS(result, 0, "F_OFD_SETLKW waits for another thread");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = lock_call(one, F_OFD_SETLKW, F_WRLCK, 0, 0));
    FAILS(result, EINTR, "a signal interrupts it");
    WHILE(close_description, &two, result = lock_call(one, F_OFD_SETLKW, F_RDLCK, 0, 0));
    EQUALS(result, 0, "closing unlocks");
    two = MUST(open(path, O_RDWR));
    EQUALS(lock_call(two, F_OFD_SETLKW, F_RDLCK, 0, 0), 0, "two readers");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    EQUALS(fcntl(two, F_OFD_GETLK, &lock), 0, "F_OFD_GETLK");
    EQUALS(lock.l_pid, -1, "has no process");
    close(one);
    close(two);
    unlink(path);
}

enum { lockers = 5, rounds = 30 };
static int inside, doubled;

static void *locker(void *unused)
{
    (void)unused;
    int fd = open(path, O_RDWR);
    for (int i = 0; i < rounds; i++) {
        MUST(lock_call(fd, F_OFD_SETLKW, F_WRLCK, 0, 0));
        if (atomic_add(&inside, 1) != 1)
            atomic_add(&doubled, 1);
        sched_yield();
        atomic_add(&inside, -1);
        MUST(lock_call(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    }
    close(fd);
    return NULL;
}

static void exclusion(void)
{
    pthread_t threads[lockers];
    int fd = file_open();
    for (int i = 0; i < lockers; i++)
        threads[i] = start(locker, NULL);
    for (int i = 0; i < lockers; i++)
        finish(threads[i]);
    EQUALS(doubled, 0, "never two inside");
    close(fd);
    unlink(path);
}

/* Two processes that wait for each other: the kernel tells one of them. */
static void deadlock(void)
{
    int fd = file_open(), ready[2], status = -1;
    char c;
    MUST(pipe(ready));
    EQUALS(lock_call(fd, F_SETLKW, F_WRLCK, 0, 1), 0, "lock the first byte");
    pid_t child = MUST(fork());
    if (child == 0) {
        int mine = open(path, O_RDWR);
        if (lock_call(mine, F_SETLKW, F_WRLCK, 1, 1) != 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        _exit(lock_call(mine, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 2);
    }
    EQUALS(read(ready[0], &c, 1), 1, "the child has the second");
    ticker_wait(20);
    int result = lock_call(fd, F_SETLKW, F_WRLCK, 1, 1);
    bool told = result == -1 && errno == EDEADLK;
    EQUALS(lock_call(fd, F_SETLK, F_UNLCK, 0, 1), 0, "unlock");
    MUST(waitpid(child, &status, 0));
    HOLDS(told || (WIFEXITED(status) && WEXITSTATUS(status) == 2), "one of them is told EDEADLK");
    HOLDS(result == 0 || told, "the other goes on");
    close(ready[0]);
    close(ready[1]);
    close(fd);
    unlink(path);
}

static const struct check checks[] = {
    CHECK(between_processes), CHECK(lockf_form), CHECK(one_owner),
    CHECK(descriptions),      CHECK(exclusion),  CHECK(deadlock),
};

TICKING_MAIN(checks)
