/* Calls made on helper threads that wait for one another, with fewer helper threads than such calls: none waits for
 * ever behind the one that it waits for. */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { PAIRS = 6 };

static char names[PAIRS][32];
static atomic_int opened;

/* Each end of a FIFO blocks in open() until the other one comes. */
static void *open_end(void *argument)
{
    long i = (long)argument;
    int fd = open(names[i / 2], (i % 2 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    EXPECT(fd >= 0);
    atomic_fetch_add(&opened, 1);
    close(fd);
    return NULL;
}

static void *sync_often(void *argument)
{
    int fd = open("synced", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pwrite(fd, "x", 1, 0), 1);
        errno = EDOM;
        EXPECT_EQ(fdatasync(fd), 0);
        EXPECT_EQ(errno, EDOM);
        EXPECT_ERRNO(fdatasync(-1), EBADF);
    }
    close(fd);
    return argument;
}

/* All the readers first, so that they fill the pool before any writer comes. */
static void ends_of_fifos_meet(void)
{
    pthread_t threads[2 * PAIRS], syncers[3];
    for (int i = 0; i < PAIRS; i++) {
        snprintf(names[i], sizeof names[i], "fifo.%d", i);
        EXPECT_EQ(mkfifo(names[i], 0600), 0);
    }
    for (long i = 0; i < PAIRS; i++) {
        threads[2 * i] = start(open_end, (void *)(2 * i));
    }
    sleep_ms(10);
    for (int i = 0; i < 3; i++) {
        syncers[i] = start(sync_often, NULL);
    }
    for (int i = 0; i < 3; i++) {
        finish(syncers[i]);
    }
    EXPECT_EQ(atomic_load(&opened), 0);
    for (long i = 0; i < PAIRS; i++) {
        threads[2 * i + 1] = start(open_end, (void *)(2 * i + 1));
    }
    for (int i = 0; i < 2 * PAIRS; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(atomic_load(&opened), 2 * PAIRS);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = { CHECK(ends_of_fifos_meet) };
    return CHECKS_RUN(checks, argc, argv);
}
