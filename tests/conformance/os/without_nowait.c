/* read and write on a kernel that knows no RWF_NOWAIT for this kind of descriptor: pipes and
 * sockets before Linux 6.4, as on Debian 12. A seccomp filter takes the flag away. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

enum { SIZE = 300000 };

static char block[SIZE], sink[SIZE];

/* Before there are threads: all that come have the filter. */
static void take_nowait(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, RWF_NOWAIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void taken(void)
{
    int ends[2];
    struct iovec part = {sink, 1};
    MUST(pipe(ends));
    FAILS(preadv2(ends[0], &part, 1, -1, RWF_NOWAIT), EOPNOTSUPP, "the flag is gone");
    close(ends[0]);
    close(ends[1]);
}

static void send_word(void *fd)
{
    MUST(write(*(int *)fd, "word", 4));
}

static void drain(void *fd)
{
    for (size_t done = 0; done < SIZE;)
        done += (size_t)MUST_LONG(read(*(int *)fd, sink + done, SIZE - done));
}

/* What is written at [1] comes out at [0], in order, and both ends wait. */
static void transfers(int ends[2], bool stream)
{
    char got[8];
    struct iovec parts[3] = {{got, 1}, {got + 1, 0}, {got + 1, 7}};
    ssize_t n;
    WHILE(send_word, &ends[1], n = read(ends[0], got, sizeof(got)));
    EQUALS(n, 4, "read waits");
    WHILE(send_word, &ends[1], n = readv(ends[0], parts, 3));
    EQUALS(n, 4, "readv waits");
    BYTES(got, "word", 4, "the data");
    if (!stream)
        return;
    for (int i = 0; i < SIZE; i++)
        block[i] = (char)(i * 7 / 5);
    WHILE(drain, &ends[0], n = write(ends[1], block, SIZE));
    EQUALS(n, SIZE, "write waits until all is written");
    HOLDS(memcmp(block, sink, SIZE) == 0, "in order");
    struct iovec all[3] = {{block, 0}, {block, 10}, {block + 10, SIZE - 10}};
    memset(sink, 0, SIZE);
    WHILE(drain, &ends[0], n = writev(ends[1], all, 3));
    EQUALS(n, SIZE, "writev too");
    HOLDS(memcmp(block, sink, SIZE) == 0, "in order too");
}

static void pipes(void)
{
    int ends[2];
    char c;
    MUST(pipe(ends));
    transfers(ends, true);
    MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    FAILS(read(ends[0], &c, 1), EAGAIN, "O_NONBLOCK");
    MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    HOLDS(write(ends[1], block, SIZE) < SIZE, "O_NONBLOCK writes what fits");
    close(ends[1]);
    while (read(ends[0], sink, SIZE) > 0)
        ;
    EQUALS(read(ends[0], &c, 1), 0, "then the end");
    close(ends[0]);
}

static void check_sockets(int family, int type)
{
    int pair[2];
    char c;
    struct iovec nothing[2] = {{&c, 0}, {&c, 0}};
    net_pair(family, type, pair);
    transfers(pair, type == SOCK_STREAM);
    EQUALS(readv(pair[0], nothing, 2), 0, "readv of nothing does not wait");
    EQUALS(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    MUST(shutdown(pair[1], SHUT_WR));
    EQUALS(read(pair[0], &c, 1), 0, "then the end");
    net_close(pair);
}

static void sockets(void)
{
    check_sockets(AF_INET, SOCK_STREAM);
    check_sockets(AF_UNIX, SOCK_STREAM);
    check_sockets(AF_UNIX, SOCK_SEQPACKET);
}

static void add_two(void *fd)
{
    EQUALS(eventfd_write(*(int *)fd, 2), 0, "eventfd_write");
}

static void counters(void)
{
    uint64_t count;
    int fd = MUST(eventfd(0, EFD_CLOEXEC));
    FAILS(read(fd, &count, 7), EINVAL, "seven bytes are too few");
    WHILE(add_two, &fd, EQUALS(read(fd, &count, 8), 8, "read waits"));
    EQUALS(count, 2, "for two");
    close(fd);
}

static const struct check checks[] = {CHECK(taken), CHECK(pipes), CHECK(sockets), CHECK(counters)};

int main(int argc, char **argv)
{
    take_nowait();
    ticker_start();
    int status = CHECKS_RUN(checks, argc, argv);
    ticker_stop();
    return status;
}
