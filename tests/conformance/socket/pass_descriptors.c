/* Descriptors and credentials in control messages: SCM_RIGHTS, MSG_CMSG_CLOEXEC, MSG_CTRUNC,
 * several at once, on blocked receivers. */
#include "kit/net.h"
#include "kit/threads.h"

struct parcel {
    int through, fds[4], count;
};

union control {
    char room[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr align;
};

static void send_parcel(void *arg)
{
    struct parcel *parcel = arg;
    union control control;
    struct iovec part = {"P", 1};
    memset(&control, 0, sizeof(control));
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room};
    size_t size = sizeof(int) * (size_t)parcel->count;
    header.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), parcel->fds, size);
    MUST(sendmsg(parcel->through, &header, 0));
}

/* Receives one byte and up to room bytes of control data; returns the number of descriptors. */
static int take(int through, int flags, size_t room, int *fds, int *message_flags)
{
    union control control;
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = room};
    EQUALS(recvmsg(through, &header, flags), 1, "recvmsg gets the byte");
    HOLDS(byte == 'P', "which was sent");
    *message_flags = header.msg_flags;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t size = c->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(c), size);
    return (int)(size / sizeof(int));
}

static void check_type(int type)
{
    int pair[2], pipes[2], fds[4] = {-1, -1, -1, -1}, flags, count;
    char c = 0;
    net_pair(AF_UNIX, type, pair);
    MUST(pipe(pipes));
    struct parcel parcel = {pair[1], {pipes[0], pipes[1]}, 2};
    WHILE(send_parcel, &parcel, count = take(pair[0], 0, sizeof(union control), fds, &flags));
    if (EQUALS(count, 2, "two descriptors come")) {
        HOLDS(fds[0] != pipes[0] && fds[1] != pipes[1], "under new numbers");
        EQUALS(fcntl(fds[0], F_GETFD), 0, "without FD_CLOEXEC");
        EQUALS(fcntl(fds[0], F_GETFL), O_RDONLY, "the flags are the description's");
        EQUALS(write(fds[1], "x", 1), 1, "one writes");
        EQUALS(read(pipes[0], &c, 1), 1, "to the same pipe");
        close(fds[0]);
        close(fds[1]);
    }
    WHILE(send_parcel, &parcel,
          count = take(pair[0], MSG_CMSG_CLOEXEC, sizeof(union control), fds, &flags));
    if (EQUALS(count, 2, "two descriptors again")) {
        EQUALS(fcntl(fds[0], F_GETFD), FD_CLOEXEC, "MSG_CMSG_CLOEXEC sets FD_CLOEXEC");
        EQUALS(fcntl(fds[1], F_GETFD), FD_CLOEXEC, "on each");
        close(fds[0]);
        close(fds[1]);
    }
    send_parcel(&parcel);
    count = take(pair[0], 0, CMSG_LEN(sizeof(int)), fds, &flags);
    if (EQUALS(count, 1, "room for one"))
        close(fds[0]);
    EQUALS(flags & MSG_CTRUNC, MSG_CTRUNC, "MSG_CTRUNC says that one is missing");
    send_parcel(&parcel);
    EQUALS(recv(pair[0], &c, 1, 0), 1, "recv drops the descriptors");
    close(pipes[1]);
    EQUALS(read(pipes[0], &c, 1), 0, "they are closed: the pipe has no writer");
    close(pipes[0]);
    net_close(pair);
}

static void stream(void)
{
    check_type(SOCK_STREAM);
}

static void dgram(void)
{
    check_type(SOCK_DGRAM);
}

static void seqpacket(void)
{
    check_type(SOCK_SEQPACKET);
}

/* A socket travels while a thread is blocked in it, and works at both ends. */
static void *blocked_reader(void *arg)
{
    char c = 0;
    EQUALS(recv(*(int *)arg, &c, 1, 0), 1, "the blocked reader gets the byte");
    return NULL;
}

static void socket_in_use(void)
{
    int pair[2], data[2], fds[4], flags;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    net_pair(AF_INET, SOCK_STREAM, data);
    pthread_t thread = start(blocked_reader, &data[0]);
    ticker_wait(20);
    struct parcel parcel = {pair[1], {data[0], data[1]}, 2};
    send_parcel(&parcel);
    if (EQUALS(take(pair[0], 0, sizeof(union control), fds, &flags), 2, "two sockets come")) {
        EQUALS(fcntl(fds[0], F_GETFL), O_RDWR, "without O_NONBLOCK");
        close(data[1]);
        EQUALS(send(fds[1], "x", 1, 0), 1, "one sends");
        close(fds[0]);
        close(fds[1]);
    }
    finish(thread);
    close(data[0]);
    net_close(pair);
}

static void send_byte(void *arg)
{
    MUST(send(*(int *)arg, "x", 1, 0));
}

static void credentials(void)
{
    int pair[2], on = 1;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
    union control control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = sizeof(control)};
    ssize_t n;
    WHILE(send_byte, &pair[1], n = recvmsg(pair[0], &header, 0));
    EQUALS(n, 1, "recvmsg with SO_PASSCRED");
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (HOLDS(c != NULL && c->cmsg_type == SCM_CREDENTIALS, "tells who")) {
        struct ucred who;
        memcpy(&who, CMSG_DATA(c), sizeof(who));
        EQUALS(who.pid, getpid(), "this process");
        EQUALS(who.uid, getuid(), "this user");
    }
    struct ucred peer;
    socklen_t length = sizeof(peer);
    EQUALS(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &length), 0, "SO_PEERCRED");
    EQUALS(peer.pid, getpid(), "is this process");
    net_close(pair);
}

static const struct check checks[] = {CHECK(stream), CHECK(dgram), CHECK(seqpacket),
                                      CHECK(socket_in_use), CHECK(credentials)};

TICKING_MAIN(checks)
