/* Plain files, directories and devices: nothing waits, offsets and appends are right with
 * several threads. */
#include <sys/stat.h>
#include <sys/uio.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int scratch(int flags)
{
    char path[64];
    static int serial;
    snprintf(path, sizeof(path), "file-%d-%d", (int)getpid(), serial++);
    int fd = MUST(open(path, O_CREAT | O_EXCL | O_RDWR | flags, 0600));
    unlink(path);
    return fd;
}

static void plain(void)
{
    char got[32] = "";
    int fd = scratch(0);
    EQUALS(write(fd, "hello world", 11), 11, "write");
    EQUALS(read(fd, got, sizeof(got)), 0, "read at the end");
    EQUALS(lseek(fd, 6, SEEK_SET), 6, "lseek");
    EQUALS(read(fd, got, sizeof(got)), 5, "read to the end");
    BYTES(got, "world", 5, "the text");
    EQUALS(pread(fd, got, 5, 0), 5, "pread");
    BYTES(got, "hello", 5, "the text");
    EQUALS(lseek(fd, 0, SEEK_CUR), 11, "pread does not move");
    EQUALS(pwrite(fd, "HELLO", 5, 0), 5, "pwrite");
    struct iovec parts[2] = {{got, 5}, {got + 5, 6}};
    EQUALS(preadv(fd, parts, 2, 0), 11, "preadv");
    BYTES(got, "HELLO world", 11, "the text");
    EQUALS(preadv2(fd, parts, 2, 6, 0), 5, "preadv2");
    EQUALS(pwritev(fd, parts, 1, 11), 5, "pwritev");
    EQUALS(pwritev2(fd, parts, 1, -1, 0), 5, "pwritev2 at -1 writes at the offset");
    EQUALS(lseek(fd, 0, SEEK_CUR), 16, "and moves");
    EQUALS(ftruncate(fd, 4), 0, "ftruncate");
    EQUALS(lseek(fd, 100, SEEK_SET), 100, "past the end");
    EQUALS(read(fd, got, 1), 0, "reads nothing");
    EQUALS(write(fd, "x", 1), 1, "write past the end");
    EQUALS(pread(fd, got, 2, 50), 2, "a hole");
    HOLDS(got[0] == 0 && got[1] == 0, "reads as zeros");
    EQUALS(read(fd, got, 0), 0, "read of 0 bytes");
    EQUALS(write(fd, got, 0), 0, "write of 0 bytes");
    FAILS(pread(fd, got, 1, -1), EINVAL, "pread at -1");
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    EQUALS(pread(fd, got, 4, 0), 4, "O_NONBLOCK changes nothing");
    close(fd);
}

enum { writers = 4, rounds = 200, record = 37 };
static int log_fd;

static void *append(void *arg)
{
    char line[record];
    memset(line, 'a' + (int)(long)arg, record);
    line[record - 1] = '\n';
    for (int i = 0; i < rounds; i++)
        if (write(log_fd, line, record) != record)
            return (void *)1;
    return NULL;
}

static void check_lines(int flags)
{
    pthread_t threads[writers];
    char line[record];
    int whole = 0;
    log_fd = scratch(flags);
    for (long i = 0; i < writers; i++)
        threads[i] = start(append, (void *)i);
    for (int i = 0; i < writers; i++)
        EQUALS((long)finish(threads[i]), 0, "every write wrote all");
    for (int i = 0; i < writers * rounds; i++) {
        bool same = pread(log_fd, line, record, (off_t)i * record) == record;
        for (int k = 1; k < record - 1; k++)
            same = same && line[k] == line[0];
        whole += same && line[record - 1] == '\n';
    }
    EQUALS(whole, writers * rounds, "every line is whole");
    EQUALS(lseek(log_fd, 0, SEEK_END), writers * rounds * record, "and none is lost");
    close(log_fd);
}

static void appending(void)
{
    check_lines(O_APPEND);
}

static void shared_offset(void)
{
    check_lines(0);
}

static void devices(void)
{
    char got[64];
    int null = MUST(open("/dev/null", O_RDWR)), zero = MUST(open("/dev/zero", O_RDWR));
    int full = MUST(open("/dev/full", O_RDWR));
    memset(got, 1, sizeof(got));
    EQUALS(read(null, got, sizeof(got)), 0, "/dev/null reads nothing");
    EQUALS(write(null, got, sizeof(got)), sizeof(got), "and takes all");
    EQUALS(read(zero, got, sizeof(got)), sizeof(got), "/dev/zero reads");
    HOLDS(got[0] == 0 && got[63] == 0, "zeros");
    EQUALS(write(zero, got, sizeof(got)), sizeof(got), "and takes all");
    FAILS(write(full, got, 1), ENOSPC, "/dev/full takes nothing");
    int random = MUST(open("/dev/urandom", O_RDONLY));
    EQUALS(read(random, got, sizeof(got)), sizeof(got), "/dev/urandom reads");
    close(random);
    close(null);
    close(zero);
    close(full);
}

static void directories(void)
{
    char got[8];
    struct iovec part = {got, sizeof(got)};
    int fd = MUST(open(".", O_RDONLY | O_DIRECTORY));
    FAILS(read(fd, got, sizeof(got)), EISDIR, "read");
    FAILS(readv(fd, &part, 1), EISDIR, "readv");
    FAILS(pread(fd, got, 1, 0), EISDIR, "pread");
    FAILS(write(fd, got, 1), EBADF, "write");
    FAILS(open(".", O_WRONLY), EISDIR, "open for writing");
    FAILS(open("no/such/file", O_RDONLY), ENOENT, "open of nothing");
    FAILS(open("/dev/null/x", O_RDONLY), ENOTDIR, "open below a file");
    FAILS(open(bad_pointer, O_RDONLY), EFAULT, "open, a bad address");
    FAILS(openat(12345, "x", O_RDONLY), EBADF, "openat, a closed descriptor");
    FAILS(openat(STDOUT_FILENO, "x", O_RDONLY | O_CREAT, 0600), ENOTDIR, "openat, no directory");
    close(fd);
    fd = MUST(open(".", O_PATH));
    FAILS(read(fd, got, 1), EBADF, "read of an O_PATH descriptor");
    close(fd);
    fd = open("created", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0640);
    HOLDS(fd >= 0, "open makes a file");
    struct stat status;
    MUST(fstat(fd, &status));
    EQUALS(status.st_mode & 0777, 0640, "with its mode");
    close(fd);
    fd = creat("created", 0600);
    EQUALS(fcntl(fd, F_GETFL) & O_ACCMODE, O_WRONLY, "creat opens for writing");
    close(fd);
    FAILS(open("created", O_CREAT | O_EXCL, 0600), EEXIST, "O_EXCL");
    unlink("created");
}

static const struct check checks[] = {CHECK(plain), CHECK(appending), CHECK(shared_offset),
                                      CHECK(devices), CHECK(directories)};

int main(int argc, char **argv)
{
    umask(022);
    ticker_start();
    int status = CHECKS_RUN(checks, argc, argv);
    ticker_stop();
    return status;
}
