/* What socket calls say of descriptors, addresses and lengths that are wrong. */
#include <limits.h>
#include <sys/uio.h>

#include "kit/net.h"
#include "kit/threads.h"

static char room[64];

static long by_recv(int fd)
{
    return recv(fd, room, 1, 0);
}

static long by_recvfrom(int fd)
{
    return recvfrom(fd, room, 1, 0, NULL, NULL);
}

static long by_recvmsg(int fd)
{
    struct iovec part = {room, 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return recvmsg(fd, &header, 0);
}

static long by_recvmmsg(int fd)
{
    struct iovec part = {room, 1};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    return recvmmsg(fd, &header, 1, 0, NULL);
}

static long by_send(int fd)
{
    return send(fd, room, 1, MSG_NOSIGNAL);
}

static long by_sendto(int fd)
{
    return sendto(fd, room, 1, MSG_NOSIGNAL, NULL, 0);
}

static long by_sendmsg(int fd)
{
    struct iovec part = {room, 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &header, MSG_NOSIGNAL);
}

static long by_sendmmsg(int fd)
{
    struct iovec part = {room, 1};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    return sendmmsg(fd, &header, 1, MSG_NOSIGNAL);
}

static long by_setsockopt(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

static long by_getsockopt(int fd)
{
    int on;
    socklen_t length = sizeof(on);
    return getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, &length);
}

static long by_listen(int fd)
{
    return listen(fd, 1);
}

static const struct form {
    const char *name;
    long (*call)(int fd);
    bool reads;
} forms[] = {
    {"recv", by_recv, true},         {"recvfrom", by_recvfrom, true},
    {"recvmsg", by_recvmsg, true},   {"recvmmsg", by_recvmmsg, true},
    {"send", by_send, false},        {"sendto", by_sendto, false},
    {"sendmsg", by_sendmsg, false},  {"sendmmsg", by_sendmmsg, false},
    {"setsockopt", by_setsockopt, false}, {"getsockopt", by_getsockopt, false},
    {"listen", by_listen, false},
};
enum { transfers = 8 };

static void descriptors(void)
{
    int pipes[2], file = MUST(open("/dev/null", O_RDWR));
    MUST(pipe(pipes));
    for (size_t f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
        check_current = forms[f].name;
        FAILS(forms[f].call(-1), EBADF, "descriptor -1");
        FAILS(forms[f].call(INT_MAX), EBADF, "descriptor INT_MAX");
        FAILS(forms[f].call(12345), EBADF, "a closed descriptor");
        FAILS(forms[f].call(pipes[0]), ENOTSOCK, "a pipe");
        FAILS(forms[f].call(file), ENOTSOCK, "a device");
    }
    close(file);
    net_close(pipes);
}

static void unconnected(void)
{
    int stream = MUST(socket(AF_INET, SOCK_STREAM, 0));
    int local = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    int packet = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    for (int f = 0; f < transfers; f++) {
        check_current = forms[f].name;
        FAILS(forms[f].call(stream), forms[f].reads ? ENOTCONN : EPIPE, "TCP not connected");
        FAILS(forms[f].call(local), forms[f].reads ? EINVAL : ENOTCONN, "AF_UNIX not connected");
        FAILS(forms[f].call(packet), ENOTCONN, "AF_UNIX seqpacket not connected");
    }
    close(stream);
    close(local);
    close(packet);
}

/* Volatile, so that the compiler does not warn of what is meant. */
static volatile int minus_one = -1, too_many = 1025;

static void pointers(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        struct iovec part = {bad_pointer, 4}, good = {room, 4};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        net_pair(families[i], SOCK_STREAM, pair);
        FAILS(send(pair[0], bad_pointer, 4, 0), EFAULT, "send");
        FAILS(write(pair[0], bad_pointer, 4), EFAULT, "write");
        FAILS(sendmsg(pair[0], &header, 0), EFAULT, "sendmsg");
        FAILS(sendmsg(pair[0], bad_pointer, 0), EFAULT, "sendmsg, the header");
        FAILS(writev(pair[0], bad_pointer, 1), EFAULT, "writev, the parts");
        FAILS(writev(pair[0], &part, minus_one), EINVAL, "writev, -1 parts");
        FAILS(writev(pair[0], &part, too_many), EINVAL, "writev, 1025 parts");
        FAILS(readv(pair[0], &part, too_many), EINVAL, "readv, 1025 parts");
        header.msg_iovlen = (size_t)too_many;
        FAILS(sendmsg(pair[0], &header, 0), EMSGSIZE, "sendmsg, 1025 parts");
        FAILS(recvmsg(pair[0], &header, 0), EMSGSIZE, "recvmsg, 1025 parts");
        header.msg_iovlen = 1;
        MUST(send(pair[1], "here", 4, 0));
        FAILS(recv(pair[0], bad_pointer, 4, 0), EFAULT, "recv");
        FAILS(read(pair[0], bad_pointer, 4), EFAULT, "read");
        FAILS(recvmsg(pair[0], &header, 0), EFAULT, "recvmsg");
        FAILS(recvmsg(pair[0], bad_pointer, 0), EFAULT, "recvmsg, the header");
        FAILS(recvmmsg(pair[0], bad_pointer, 1, 0, NULL), EFAULT, "recvmmsg, the headers");
        FAILS(readv(pair[0], bad_pointer, 1), EFAULT, "readv, the parts");
        header.msg_iov = &good;
        EQUALS(recvmsg(pair[0], &header, MSG_DONTWAIT), 4, "the data is still there");
        BYTES(room, "here", 4, "all of it");
        good.iov_len = SIZE_MAX;
        FAILS(readv(pair[0], &good, 1), EINVAL, "readv, a part above SSIZE_MAX");
        FAILS(writev(pair[0], &good, 1), EINVAL, "writev, a part above SSIZE_MAX");
        FAILS(sendmsg(pair[0], &header, 0), EINVAL, "sendmsg, a part above SSIZE_MAX");
        FAILS(recvmsg(pair[0], &header, MSG_DONTWAIT), EINVAL, "recvmsg, a part above SSIZE_MAX");
        net_close(pair);
    }
}

/* A bad pointer in a call that waits first is found when data comes; the data stays. */
static void send_four(void *arg)
{
    MUST(send(*(int *)arg, "here", 4, 0));
}

static void pointer_found_late(void)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        ssize_t n;
        net_pair(families[i], SOCK_STREAM, pair);
        WHILE(send_four, &pair[1], n = recv(pair[0], bad_pointer, 4, 0));
        FAILS(n, EFAULT, "recv waits, then fails");
        EQUALS(recv(pair[0], room, 4, MSG_DONTWAIT), 4, "the data is still there");
        WHILE(send_four, &pair[1], n = read(pair[0], bad_pointer, 4));
        FAILS(n, EFAULT, "read waits, then fails");
        EQUALS(read(pair[0], room, 4), 4, "the data is still there");
        net_close(pair);
    }
}

static void making(void)
{
    FAILS(socket(12345, SOCK_STREAM, 0), EAFNOSUPPORT, "an unknown family");
    FAILS(socket(AF_INET, 99, 0), EINVAL, "an unknown type");
    FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT, "a protocol of another type");
    FAILS(socket(AF_INET, SOCK_STREAM | 0x100, 0), EINVAL, "an unknown flag");
    int fd = net_bound(AF_INET, SOCK_STREAM);
    struct address where = net_name(fd);
    FAILS(bind(fd, &where.any, where.length), EINVAL, "bind twice");
    int other = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(listen(fd, 1));
    FAILS(bind(other, &where.any, where.length), EADDRINUSE, "an address in use");
    socklen_t length = sizeof(where.room);
    FAILS(getpeername(other, &where.any, &length), ENOTCONN, "getpeername without a peer");
    FAILS(getsockname(other, &where.any, bad_pointer), EFAULT, "getsockname, a bad length");
    FAILS(setsockopt(fd, SOL_SOCKET, 9999, &length, sizeof(length)), ENOPROTOOPT,
          "an unknown option");
    close(fd);
    close(other);
}

static const struct check checks[] = {CHECK(descriptors), CHECK(unconnected), CHECK(pointers),
                                      CHECK(pointer_found_late), CHECK(making)};

TICKING_MAIN(checks)
