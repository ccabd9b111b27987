/* A hand-written io_uring loop that echoes, one process, no threads: echo_uring [VARIANT] PORT.
 *
 * Connections come from a multishot accept; what one turn of the loop asks for is submitted at once,
 * together with the wait for the next. The variants:
 *   ring        recv and send through the ring, from each connection's own buffer: what a runtime
 *               for blocking calls could do (the default)
 *   poll-first  the same, but the kernel does not look for data before it waits
 *   direct      recv through the ring, send by send(2)
 *   multishot   one recv for all messages, into buffers that the kernel picks
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS = 4096, COMPLETIONS = 65536, OWN_SIZE = 16384 };
enum { GROUP = 1, GROUP_BUFFERS = 4096, GROUP_SIZE = 2048 };

/* What a completion is of: the low bits of its user data; above them stands the descriptor. */
enum what { ACCEPT, RECV, SEND };

/* One request at a time is under way for a connection, beside the multishot recv. */
struct connection {
    char *buf; /* its own, or the one of the group whose contents are being sent */
    size_t len, done;
};

static struct connection connections[1 << 20];
static struct io_uring ring;
static struct io_uring_buf_ring *group;
static char *group_memory;
static int poll_first, direct, multishot;

static struct io_uring_sqe *next_request(void)
{
    struct io_uring_sqe *sqe;

    while ((sqe = io_uring_get_sqe(&ring)) == NULL) {
        io_uring_submit(&ring);
    }
    return sqe;
}

static void name(struct io_uring_sqe *sqe, int fd, enum what what)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)fd << 2 | what);
}

static void ask_accept(int listener)
{
    struct io_uring_sqe *sqe = next_request();

    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
    name(sqe, listener, ACCEPT);
}

static void ask_recv(int fd)
{
    struct io_uring_sqe *sqe = next_request();

    if (multishot) {
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP;
    } else {
        io_uring_prep_recv(sqe, fd, connections[fd].buf, OWN_SIZE, 0);
        if (poll_first) {
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
        }
    }
    name(sqe, fd, RECV);
}

static void ask_send(int fd)
{
    struct connection *c = &connections[fd];
    struct io_uring_sqe *sqe = next_request();

    io_uring_prep_send(sqe, fd, c->buf + c->done, c->len - c->done, MSG_NOSIGNAL);
    name(sqe, fd, SEND);
}

/* Hand a buffer (back) to the kernel. */
static void group_add(char *buf)
{
    unsigned short id = (unsigned short)((size_t)(buf - group_memory) / GROUP_SIZE);

    io_uring_buf_ring_add(group, buf, GROUP_SIZE, id, io_uring_buf_ring_mask(GROUP_BUFFERS), 0);
    io_uring_buf_ring_advance(group, 1);
}

/* All has been sent. */
static void answered(int fd)
{
    if (multishot) {
        group_add(connections[fd].buf);
    } else {
        ask_recv(fd);
    }
}

static void answer(int fd)
{
    struct connection *c = &connections[fd];

    if (direct) {
        ssize_t sent = send(fd, c->buf, c->len, MSG_NOSIGNAL | MSG_DONTWAIT);

        c->done = sent > 0 ? (size_t)sent : 0;
        if (c->done == c->len) {
            answered(fd);
            return;
        }
    }
    ask_send(fd);
}

static void accepted(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (!multishot && connections[fd].buf == NULL) {
        connections[fd].buf = malloc(OWN_SIZE);
    }
    ask_recv(fd);
}

static void received(int fd, int result, unsigned flags)
{
    struct connection *c = &connections[fd];

    if (result == -ENOBUFS) {
        ask_recv(fd);
        return;
    }
    if (result <= 0) {
        close(fd);
        return;
    }
    if (multishot) {
        c->buf = group_memory + (flags >> IORING_CQE_BUFFER_SHIFT) * GROUP_SIZE;
        if (!(flags & IORING_CQE_F_MORE)) {
            ask_recv(fd);
        }
    }
    c->len = (size_t)result;
    c->done = 0;
    answer(fd);
}

static void sent(int fd, int result)
{
    struct connection *c = &connections[fd];

    if (result < 0) {
        close(fd);
        return;
    }
    c->done += (size_t)result;
    if (c->done < c->len) {
        ask_send(fd);
    } else {
        answered(fd);
    }
}

static void completed(const struct io_uring_cqe *cqe)
{
    int fd = (int)(cqe->user_data >> 2);

    switch ((enum what)(cqe->user_data & 3)) {
    case ACCEPT:
        if (!(cqe->flags & IORING_CQE_F_MORE)) {
            ask_accept(fd);
        }
        if (cqe->res >= 0) {
            accepted(cqe->res);
        }
        break;
    case RECV:
        received(fd, cqe->res, cqe->flags);
        break;
    case SEND:
        sent(fd, cqe->res);
        break;
    }
}

static int group_open(void)
{
    size_t ring_size = GROUP_BUFFERS * sizeof(struct io_uring_buf);
    struct io_uring_buf_reg registration = {.ring_entries = GROUP_BUFFERS, .bgid = GROUP};
    int error;

    group = aligned_alloc(4096, ring_size);
    group_memory = aligned_alloc(4096, GROUP_BUFFERS * GROUP_SIZE);
    registration.ring_addr = (uintptr_t)group;
    error = io_uring_register_buf_ring(&ring, &registration, 0);
    if (error == 0) {
        io_uring_buf_ring_init(group);
        for (size_t i = 0; i < GROUP_BUFFERS; i++) {
            group_add(group_memory + i * GROUP_SIZE);
        }
    }
    return error;
}

static int ring_open(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    int error = io_uring_queue_init_params(REQUESTS, &ring, &params);

    if (error == 0) {
        io_uring_register_ring_fd(&ring); /* saves a little where the kernel can */
        error = multishot ? group_open() : 0;
    }
    return error;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, error;
    const char *variant = argc > 2 ? argv[1] : "ring";

    if (argc < 2) {
        fprintf(stderr, "usage: echo_uring [ring|poll-first|direct|multishot] PORT\n");
        return 2;
    }
    poll_first = strcmp(variant, "poll-first") == 0;
    direct = strcmp(variant, "direct") == 0;
    multishot = strcmp(variant, "multishot") == 0;
    address.sin_port = htons((uint16_t)atoi(argv[argc - 1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8192) < 0) {
        perror("echo_uring");
        return 1;
    }
    error = ring_open();
    if (error < 0) {
        fprintf(stderr, "echo_uring: %s\n", strerror(-error));
        return 1;
    }
    ask_accept(listener);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;

        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            completed(cqe);
            count++;
        }
        io_uring_cq_advance(&ring, count);
    }
}
