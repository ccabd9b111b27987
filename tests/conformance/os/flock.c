/* flock between open descriptions in threads and between processes. */
#include <sys/file.h>
#include <sys/wait.h>

#include "kit/expect.h"
#include "kit/threads.h"

static char path[64];

static int file_open(void)
{
    snprintf(path, sizeof(path), "flocked-%d", (int)getpid());
    return MUST(open(path, O_RDWR | O_CREAT, 0600));
}

static void unlock(void *arg)
{
    EQUALS(flock(*(int *)arg, LOCK_UN), 0, "unlock");
}

static void close_it(void *arg)
{
    close(*(int *)arg);
}

static void contended(void)
{
    int one = file_open(), two = MUST(open(path, O_RDWR)), result;
    EQUALS(flock(one, LOCK_EX), 0, "lock");
    FAILS(flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK, "LOCK_NB does not wait");
    FAILS(flock(two, LOCK_SH | LOCK_NB), EWOULDBLOCK, "nor for a shared lock");
    WHILE(unlock, &one, result = flock(two, LOCK_EX));
    EQUALS(result, 0, "flock waits for another thread");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = flock(one, LOCK_EX));
    FAILS(result, EINTR, "a signal interrupts it");
    signal_catch(SIGUSR1, SA_RESTART);
    struct kicker kicker;
    kicker_start(&kicker, SIGUSR1);
    WHILE(close_it, &two, result = flock(one, LOCK_SH));
    kicker_stop(&kicker);
    EQUALS(result, 0, "SA_RESTART goes on; closing unlocks");
    two = MUST(open(path, O_RDWR));
    EQUALS(flock(two, LOCK_SH), 0, "two shared locks");
    FAILS(flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK, "no exclusive one beside");
    EQUALS(flock(one, LOCK_SH), 0, "again");
    FAILS(flock(one, LOCK_SH | LOCK_EX), EINVAL, "an unknown way");
    FAILS(flock(-1, LOCK_EX), EBADF, "descriptor -1");
    int twin = MUST(dup(one));
    EQUALS(flock(two, LOCK_UN), 0, "unlock");
    EQUALS(flock(one, LOCK_EX), 0, "alone");
    EQUALS(flock(twin, LOCK_EX | LOCK_NB), 0, "a duplicate owns it too");
    close(twin);
    close(one);
    close(two);
    unlink(path);
}

enum { lockers = 5, rounds = 40 };
static int inside, doubled;

static void *locker(void *unused)
{
    (void)unused;
    int fd = open(path, O_RDWR);
    for (int i = 0; i < rounds; i++) {
        MUST(flock(fd, LOCK_EX));
        if (atomic_add(&inside, 1) != 1)
            atomic_add(&doubled, 1);
        sched_yield();
        atomic_add(&inside, -1);
        MUST(flock(fd, LOCK_UN));
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

static void let_go(void *arg)
{
    MUST(write(*(int *)arg, "g", 1));
}

static void between_processes(void)
{
    int fd = file_open(), ready[2], go[2], status = -1, result;
    char c;
    MUST(pipe(ready));
    MUST(pipe(go));
    pid_t child = MUST(fork());
    if (child == 0) {
        int mine = open(path, O_RDWR);
        if (flock(mine, LOCK_EX) != 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        _exit(read(go[0], &c, 1) == 1 ? 0 : 2);
    }
    EQUALS(read(ready[0], &c, 1), 1, "the child has the lock");
    FAILS(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK, "LOCK_NB");
    WHILE(let_go, &go[1], result = flock(fd, LOCK_EX));
    EQUALS(result, 0, "flock waits for the other process");
    MUST(waitpid(child, &status, 0));
    EXPECT_EXITS(status, 0);
    close(fd);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
    unlink(path);
}

static const struct check checks[] = {CHECK(contended), CHECK(exclusion),
                                      CHECK(between_processes)};

TICKING_MAIN(checks)
