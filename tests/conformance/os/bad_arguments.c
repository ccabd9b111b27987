/* What the descriptor calls say of closed descriptors, bad addresses and lengths, on every kind of
 * descriptor, and that nothing waits or is lost by it. */
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "kit/expect.h"
#include "kit/threads.h"

static char room[64];
static volatile size_t huge = SIZE_MAX, two_gib = INT_MAX;
static volatile int minus_one = -1, too_many = 1025;

/* pipes: an open pipe, for calls that take two descriptors. */
static void closed(int fd, const int pipes[2])
{
    struct iovec part = {room, 1};
    FAILS(read(fd, room, 1), EBADF, "read");
    FAILS(read(fd, room, 0), EBADF, "read of 0 bytes");
    FAILS(read(fd, bad_pointer, 1), EBADF, "read to a bad address");
    FAILS(write(fd, room, 1), EBADF, "write");
    FAILS(write(fd, room, 0), EBADF, "write of 0 bytes");
    FAILS(readv(fd, &part, 1), EBADF, "readv");
    FAILS(writev(fd, &part, 1), EBADF, "writev");
    FAILS(pread(fd, room, 1, 0), EBADF, "pread");
    FAILS(pwrite(fd, room, 1, 0), EBADF, "pwrite");
    FAILS(preadv(fd, &part, 1, 0), EBADF, "preadv");
    FAILS(pwritev(fd, &part, 1, 0), EBADF, "pwritev");
    FAILS(preadv2(fd, &part, 1, -1, 0), EBADF, "preadv2");
    FAILS(pwritev2(fd, &part, 1, -1, 0), EBADF, "pwritev2");
    FAILS(close(fd), EBADF, "close");
    FAILS(dup(fd), EBADF, "dup");
    FAILS(dup2(fd, 100), EBADF, "dup2");
    FAILS(dup2(fd, fd), EBADF, "dup2 to itself");
    FAILS(dup3(fd, 100, 0), EBADF, "dup3");
    FAILS(fcntl(fd, F_GETFL), EBADF, "fcntl F_GETFL");
    FAILS(fcntl(fd, F_SETFL, 0), EBADF, "fcntl F_SETFL");
    FAILS(fcntl(fd, F_GETFD), EBADF, "fcntl F_GETFD");
    FAILS(fcntl(fd, F_DUPFD, 0), EBADF, "fcntl F_DUPFD");
    FAILS(ioctl(fd, FIONREAD, room), EBADF, "ioctl");
    FAILS(lseek(fd, 0, SEEK_SET), EBADF, "lseek");
    FAILS(fsync(fd), EBADF, "fsync");
    FAILS(fdatasync(fd), EBADF, "fdatasync");
    FAILS(ftruncate(fd, 0), EBADF, "ftruncate");
    FAILS(sendfile(pipes[1], fd, NULL, 1), EBADF, "sendfile from it");
    FAILS(sendfile(fd, pipes[0], NULL, 1), EBADF, "sendfile to it");
    FAILS(splice(fd, NULL, pipes[1], NULL, 1, 0), EBADF, "splice from it");
    FAILS(splice(pipes[0], NULL, fd, NULL, 1, 0), EBADF, "splice to it");
    FAILS(tee(fd, pipes[1], 1, 0), EBADF, "tee");
    FAILS(vmsplice(fd, &part, 1, 0), EBADF, "vmsplice");
}

static void closed_number(int fd)
{
    int pipes[2];
    MUST(pipe(pipes));
    closed(fd, pipes);
    close(pipes[0]);
    close(pipes[1]);
}

static void descriptor_minus_one(void)
{
    closed_number(-1);
}

static void descriptor_closed(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    int fd = MUST(dup(STDOUT_FILENO));
    close(fd);
    closed(fd, pipes);
    close(pipes[0]);
    close(pipes[1]);
}

static void descriptor_huge(void)
{
    closed_number(INT_MAX);
}

/* Addresses and lengths on one kind of descriptor with four bytes to read. */
static void check_pointers(int reader, int writer, size_t unit)
{
    struct iovec bad = {bad_pointer, unit}, good = {room, unit};
    memset(room, 1, sizeof(room));
    MUST(write(writer, room, unit));
    FAILS(read(reader, bad_pointer, unit), EFAULT, "read");
    FAILS(readv(reader, bad_pointer, 1), EFAULT, "readv, the parts");
    FAILS(readv(reader, &good, minus_one), EINVAL, "readv, -1 parts");
    FAILS(readv(reader, &good, too_many), EINVAL, "readv, 1025 parts");
    FAILS(writev(writer, bad_pointer, 1), EFAULT, "writev, the parts");
    FAILS(writev(writer, &good, minus_one), EINVAL, "writev, -1 parts");
    FAILS(writev(writer, &good, too_many), EINVAL, "writev, 1025 parts");
    FAILS(write(writer, bad_pointer, unit), EFAULT, "write");
    FAILS(writev(writer, &bad, 1), EFAULT, "writev");
    good.iov_len = huge;
    FAILS(readv(reader, &good, 1), EINVAL, "readv, a length above SSIZE_MAX");
    FAILS(writev(writer, &good, 1), EINVAL, "writev, a length above SSIZE_MAX");
}

static void on_pipe(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    check_pointers(pipes[0], pipes[1], 4);
    EQUALS(read(pipes[0], room, 8), 4, "the data is still there");
    close(pipes[0]);
    close(pipes[1]);
}

static void on_socket(void)
{
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    check_pointers(pair[0], pair[1], 4);
    EQUALS(read(pair[0], room, 8), 4, "the data is still there");
    close(pair[0]);
    close(pair[1]);
}

static void on_eventfd(void)
{
    int event = MUST(eventfd(0, 0));
    uint64_t one = 1;
    EQUALS(write(event, &one, 8), 8, "write");
    FAILS(write(event, bad_pointer, 8), EFAULT, "write from a bad address");
    FAILS(read(event, bad_pointer, 8), EFAULT, "read to a bad address");
    MUST(fcntl(event, F_SETFL, O_NONBLOCK));
    FAILS(read(event, &one, 8), EAGAIN, "takes the count all the same");
    close(event);
}

static void on_file(void)
{
    int fd = MUST(open("/proc/self/exe", O_RDONLY));
    FAILS(read(fd, bad_pointer, 4), EFAULT, "read");
    FAILS(pread(fd, bad_pointer, 4, 0), EFAULT, "pread");
    FAILS(write(fd, room, 1), EBADF, "write to what is open for reading");
    FAILS(ioctl(fd, 0x12345678, room), ENOTTY, "an unknown ioctl");
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL, "lseek before the start");
    FAILS(lseek(fd, 0, 99), EINVAL, "lseek, an unknown way");
    close(fd);
}

/* A length above SSIZE_MAX is cut by the kernel, a bad address is found. */
static void lengths(void)
{
    int pipes[2], fd = MUST(open("/dev/zero", O_RDWR));
    MUST(pipe(pipes));
    FAILS(read(fd, room, huge), EFAULT, "read of SIZE_MAX bytes runs out of the address space");
    MUST(write(pipes[1], "four", 4));
    FAILS(read(pipes[0], room, huge), EFAULT, "from a pipe too");
    EQUALS(read(pipes[0], room, two_gib), 4, "read of INT_MAX bytes");
    BYTES(room, "four", 4, "gives what is there");
    FAILS(write(fd, room, huge), EFAULT, "write of SIZE_MAX bytes");
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

static void write_four(void *arg)
{
    MUST(write(*(int *)arg, "four", 4));
}

/* A bad address in a read that waits first. */
static void found_late(void)
{
    int pipes[2];
    ssize_t n;
    MUST(pipe(pipes));
    WHILE(write_four, &pipes[1], n = read(pipes[0], bad_pointer, 4));
    FAILS(n, EFAULT, "read waits, then fails");
    EQUALS(read(pipes[0], room, 8), 4, "the data is still there");
    close(pipes[0]);
    close(pipes[1]);
}

static const struct check checks[] = {
    CHECK(descriptor_minus_one), CHECK(descriptor_closed), CHECK(descriptor_huge),
    CHECK(on_pipe),              CHECK(on_socket),         CHECK(on_eventfd),
    CHECK(on_file),              CHECK(lengths),           CHECK(found_late),
};

TICKING_MAIN(checks)
