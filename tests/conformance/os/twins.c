/* The names under which old, large-file or fortified programs call the descriptor functions: each
 * waits, or does not, as the plain name. */
#include <mqueue.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <pty.h>

#include "kit/expect.h"
#include "kit/threads.h"

/* Exported by libc, declared by no header, or by macros only. */
extern ssize_t __read(int fd, void *to, size_t size);
extern ssize_t __write(int fd, const void *from, size_t size);
extern ssize_t __read_chk(int fd, void *to, size_t size, size_t room);
extern ssize_t __pread64(int fd, void *to, size_t size, off64_t at);
extern ssize_t __pwrite64(int fd, const void *from, size_t size, off64_t at);
extern int __open(const char *path, int flags, ...);
extern int __open64(const char *path, int flags, ...);
extern int __open_2(const char *path, int flags);
extern int __open64_2(const char *path, int flags);
extern int __openat_2(int at, const char *path, int flags);
extern int __openat64_2(int at, const char *path, int flags);
extern int __close(int fd);
extern int __fcntl(int fd, int command, ...);
extern int __pipe(int ends[2]);
extern int __dup2(int from, int to);
extern mqd_t __mq_open_2(const char *name, int flags);

static int ends[2];
static char block[65536], sink[65536];

static void put(void *unused)
{
    (void)unused;
    MUST(write(ends[1], "word", 4));
}

static void drain(void *unused)
{
    (void)unused;
    MUST(read(ends[0], sink, sizeof(sink)));
}

static void transfers(void)
{
    char got[16];
    ssize_t n;
    struct iovec part = {got, sizeof(got)};
    EQUALS(__pipe(ends), 0, "__pipe");
    WHILE(put, NULL, n = __read(ends[0], got, sizeof(got)));
    EQUALS(n, 4, "__read");
    WHILE(put, NULL, n = __read_chk(ends[0], got, sizeof(got), sizeof(got)));
    EQUALS(n, 4, "__read_chk");
    WHILE(put, NULL, n = preadv64v2(ends[0], &part, 1, -1, 0));
    EQUALS(n, 4, "preadv64v2");
    MUST(write(ends[1], block, sizeof(block)));
    WHILE(drain, NULL, n = __write(ends[1], "word", 4));
    EQUALS(n, 4, "__write");
    MUST(read(ends[0], got, 4));
    MUST(write(ends[1], block, sizeof(block)));
    part.iov_len = 4;
    WHILE(drain, NULL, n = pwritev64v2(ends[1], &part, 1, -1, 0));
    EQUALS(n, 4, "pwritev64v2");
    FAILS(pread64(ends[0], got, 1, 0), ESPIPE, "pread64");
    FAILS(__pread64(ends[0], got, 1, 0), ESPIPE, "__pread64");
    FAILS(pwrite64(ends[1], got, 1, 0), ESPIPE, "pwrite64");
    FAILS(__pwrite64(ends[1], got, 1, 0), ESPIPE, "__pwrite64");
    FAILS(preadv64(ends[0], &part, 1, 0), ESPIPE, "preadv64");
    FAILS(pwritev64(ends[1], &part, 1, 0), ESPIPE, "pwritev64");
    EQUALS(fcntl64(ends[0], F_GETFL), O_RDONLY, "fcntl64");
    EQUALS(__fcntl(ends[0], F_GETFL), O_RDONLY, "__fcntl");
    EQUALS(__dup2(ends[0], 100), 100, "__dup2");
    EQUALS(__close(100), 0, "__close");
    close(ends[0]);
    close(ends[1]);
}

static char path[64];

static void open_writer(void *arg)
{
    *(int *)arg = MUST(open(path, O_WRONLY));
}

/* Opening a FIFO, which waits for the other side. */
static void opening(void)
{
    int fd, other = -1;
    snprintf(path, sizeof(path), "twin-fifo-%d", (int)getpid());
    MUST(mkfifo(path, 0600));
#define OPENS(call)                                                                                \
    do {                                                                                           \
        WHILE(open_writer, &other, fd = call);                                                     \
        HOLDS(fd >= 0, #call);                                                                     \
        close(fd);                                                                                 \
        close(other);                                                                              \
    } while (0)
    OPENS(__open(path, O_RDONLY));
    OPENS(open64(path, O_RDONLY));
    OPENS(__open64(path, O_RDONLY));
    OPENS(__open_2(path, O_RDONLY));
    OPENS(__open64_2(path, O_RDONLY));
    OPENS(openat64(AT_FDCWD, path, O_RDONLY));
    OPENS(__openat_2(AT_FDCWD, path, O_RDONLY));
    OPENS(__openat64_2(AT_FDCWD, path, O_RDONLY));
    unlink(path);
}

static void files(void)
{
    struct flock64 lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof(path), "twin-file-%d", (int)getpid());
    int fd = creat64(path, 0600);
    HOLDS(fd >= 0, "creat64");
    EQUALS(write(fd, "text", 4), 4, "write");
    EQUALS(fcntl64(fd, F_SETLKW64, &lock), 0, "fcntl64 F_SETLKW64");
    EQUALS(lockf64(fd, F_TLOCK, 0), 0, "lockf64");
    EQUALS(ftruncate64(fd, 2), 0, "ftruncate64");
    EQUALS(truncate(path, 3), 0, "truncate");
    EQUALS(truncate64(path, 4), 0, "truncate64");
    EQUALS(fallocate64(fd, 0, 0, 4096), 0, "fallocate64");
    EQUALS(posix_fallocate64(fd, 0, 4096), 0, "posix_fallocate64");
    EQUALS(posix_fadvise64(fd, 0, 0, POSIX_FADV_NORMAL), 0, "posix_fadvise64");
    sync();
    close(fd);
    fd = MUST(open64(path, O_RDONLY));
    off64_t at = 0;
    MUST(pipe(ends));
    EQUALS(sendfile64(ends[1], fd, &at, 2), 2, "sendfile64");
    EQUALS(read(ends[0], sink, 16), 2, "its bytes");
    close(ends[0]);
    close(ends[1]);
    close(fd);
    unlink(path);
}

static void notified(union sigval value)
{
    atomic_fetch_add((atomic_int *)value.sival_ptr, 1);
}

static void queues_and_terminals(void)
{
    char name[64];
    atomic_int count = 0;
    int master, slave;
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    snprintf(name, sizeof(name), "/conformance-twin-%d", (int)getpid());
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attr);
    MUST_BE(queue != (mqd_t)-1);
    mqd_t twin = __mq_open_2(name, O_RDWR);
    HOLDS(twin != (mqd_t)-1, "__mq_open_2");
    struct sigevent event = {.sigev_notify = SIGEV_THREAD,
                             .sigev_notify_function = notified,
                             .sigev_value.sival_ptr = &count};
    EQUALS(mq_notify(queue, &event), 0, "mq_notify");
    EQUALS(mq_send(twin, "x", 1, 0), 0, "mq_send");
    for (int i = 0; i < 3000 && atomic_load(&count) == 0; i++)
        sleep_ms(1);
    EQUALS(atomic_load(&count), 1, "mq_notify's function runs");
    mq_close(queue);
    mq_close(twin);
    mq_unlink(name);
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    EQUALS(tcsendbreak(slave, 0), 0, "tcsendbreak");
    EQUALS(tcflow(slave, TCOOFF), 0, "tcflow");
    EQUALS(tcflow(slave, TCOON), 0, "tcflow again");
    EQUALS(tcdrain(slave), 0, "tcdrain");
    close(master);
    close(slave);
}

static const struct check checks[] = {CHECK(transfers), CHECK(opening), CHECK(files),
                                      CHECK(queues_and_terminals)};

TICKING_MAIN(checks)
