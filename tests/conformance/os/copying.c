/* sendfile and copy_file_range: from files to sockets and pipes that are full, offsets, errors. */
#include <sys/sendfile.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { size = 3 * 1024 * 1024 };
static char block[size], sink[size];

static int file_make(void)
{
    static int serial;
    char path[64];
    snprintf(path, sizeof(path), "source-%d-%d", (int)getpid(), serial++);
    int fd = MUST(open(path, O_CREAT | O_EXCL | O_RDWR, 0600));
    unlink(path);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + (i >> 8));
    EQUALS(write(fd, block, size), size, "write the file");
    MUST(lseek(fd, 0, SEEK_SET));
    return fd;
}

struct taking {
    int fd;
    size_t want, seen;
};

static void take(void *arg)
{
    struct taking *taking = arg;
    while (taking->seen < taking->want) {
        ssize_t n = read(taking->fd, sink + taking->seen, taking->want - taking->seen);
        if (n <= 0)
            return;
        taking->seen += (size_t)n;
    }
}

static void check_to(int to, int from)
{
    int fd = file_make();
    struct taking taking = {from, size, 0};
    ssize_t n;
    memset(sink, 0, sizeof(sink));
    off_t sent = 0;
    struct later later;
    later_start(&later, take, &taking);
    while (sent < size && (n = sendfile(to, fd, NULL, (size_t)(size - sent))) > 0)
        sent += n;
    later_join(&later);
    EQUALS(sent, size, "sendfile waits for room and sends all");
    HOLDS(memcmp(sink, block, size) == 0, "as it is in the file");
    EQUALS(lseek(fd, 0, SEEK_CUR), size, "the file's offset has moved");
    EQUALS(sendfile(to, fd, NULL, 10), 0, "at its end there is nothing to send");
    off_t at = 100;
    EQUALS(sendfile(to, fd, &at, 50), 50, "from an offset");
    EQUALS(at, 150, "which moves");
    EQUALS(lseek(fd, 0, SEEK_CUR), size, "the file's does not");
    EQUALS(read(from, sink, 50), 50, "read it");
    HOLDS(memcmp(sink, block + 100, 50) == 0, "as it is in the file");
    EQUALS(fcntl(to, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    close(fd);
}

static void to_tcp(void)
{
    int pair[2];
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    check_to(pair[0], pair[1]);
    net_close(pair);
}

static void to_local(void)
{
    int pair[2];
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    check_to(pair[0], pair[1]);
    net_close(pair);
}

static void to_pipe(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    check_to(pipes[1], pipes[0]);
    close(pipes[0]);
    close(pipes[1]);
}

static void ends(void)
{
    int pair[2], fd = file_make();
    ssize_t n;
    signal_catch(SIGUSR1, 0);
    net_pair(AF_INET, SOCK_STREAM, pair);
    net_small_buffers(pair);
    net_fill(pair[0]);
    off_t at = 0;
    KICKED(SIGUSR1, do { n = sendfile(pair[0], fd, &at, size); } while (n > 0));
    FAILS(n, EINTR, "a signal interrupts it");
    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    net_fill(pair[0]);
    FAILS(sendfile(pair[0], fd, NULL, 10), EAGAIN, "O_NONBLOCK");
    MUST(fcntl(pair[0], F_SETFL, 0));
    net_close(pair);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    close(pair[1]);
    signal_catch(SIGPIPE, 0);
    signal_count = 0;
    FAILS(sendfile(pair[0], fd, NULL, 10), EPIPE, "to nobody");
    EQUALS(signal_count, 1, "with SIGPIPE");
    close(pair[0]);
    int pipes[2];
    MUST(pipe(pipes));
    FAILS(sendfile(pipes[1], pipes[0], NULL, 10), EINVAL, "from a pipe");
    FAILS(sendfile(pipes[0], fd, NULL, 10), EBADF, "to the reading end");
    FAILS(sendfile(pipes[1], fd, bad_pointer, 10), EFAULT, "a bad address");
    at = -1;
    FAILS(sendfile(pipes[1], fd, &at, 10), EINVAL, "a negative offset");
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

static void between_files(void)
{
    int from = file_make(), to = file_make();
    MUST(ftruncate(to, 0));
    EQUALS(sendfile(to, from, NULL, 1000), 1000, "sendfile to a file");
    off_t in = 500, out = 2000;
    EQUALS(copy_file_range(from, &in, to, &out, 300, 0), 300, "copy_file_range");
    EQUALS(in, 800, "its offset");
    EQUALS(out, 2300, "and the other");
    EQUALS(pread(to, sink, 300, 2000), 300, "read it");
    HOLDS(memcmp(sink, block + 500, 300) == 0, "as it was");
    in = size;
    EQUALS(copy_file_range(from, &in, to, &out, 300, 0), 0, "at the end");
    FAILS(copy_file_range(from, NULL, to, NULL, 10, 1), EINVAL, "an unknown flag");
    FAILS(copy_file_range(-1, NULL, to, NULL, 10, 0), EBADF, "descriptor -1");
    int pipes[2];
    MUST(pipe(pipes));
    FAILS(copy_file_range(pipes[0], NULL, to, NULL, 10, 0), EINVAL, "from a pipe");
    close(pipes[0]);
    close(pipes[1]);
    close(from);
    close(to);
}

static const struct check checks[] = {CHECK(to_tcp), CHECK(to_local), CHECK(to_pipe), CHECK(ends),
                                      CHECK(between_files)};

TICKING_MAIN(checks)
