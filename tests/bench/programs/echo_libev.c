/* The same as callbacks on libev. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    ev_io io;
    char *pending;
    size_t len, done;
};

static void drop(struct ev_loop *loop, struct client *c)
{
    ev_io_stop(loop, &c->io);
    close(c->io.fd);
    free(c->pending);
    free(c);
}

static void watch(struct ev_loop *loop, struct client *c, int events)
{
    int fd = c->io.fd;

    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, fd, events);
    ev_io_start(loop, &c->io);
}

static void on_writable(struct ev_loop *loop, struct client *c)
{
    ssize_t sent = send(c->io.fd, c->pending + c->done, c->len - c->done, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(loop, c);
        }
        return;
    }
    c->done += (size_t)sent;
    if (c->done == c->len) {
        free(c->pending);
        c->pending = NULL;
        watch(loop, c, EV_READ);
    }
}

static void on_client(struct ev_loop *loop, ev_io *io, int events)
{
    static char buf[16384];
    struct client *c = (struct client *)io;
    ssize_t n, sent;

    if (events & EV_WRITE) {
        on_writable(loop, c);
        return;
    }
    n = recv(io->fd, buf, sizeof(buf), 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            drop(loop, c);
        }
        return;
    }
    sent = send(io->fd, buf, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(loop, c);
    } else if (sent < n) {
        c->len = (size_t)(n - (sent > 0 ? sent : 0));
        c->done = 0;
        c->pending = malloc(c->len);
        memcpy(c->pending, buf + n - (ssize_t)c->len, c->len);
        watch(loop, c, EV_WRITE);
    }
}

static void on_listener(struct ev_loop *loop, ev_io *io, int events)
{
    int fd, one = 1;

    (void)events;
    while ((fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct client *c = calloc(1, sizeof(*c));

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        ev_io_init(&c->io, on_client, fd, EV_READ);
        ev_io_start(loop, &c->io);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io accepting;

    if (argc < 2) {
        fprintf(stderr, "usage: echo_libev PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8192) < 0) {
        perror("echo_libev");
        return 1;
    }
    ev_io_init(&accepting, on_listener, listener, EV_READ);
    ev_io_start(loop, &accepting);
    ev_run(loop, 0);
    return 0;
}
