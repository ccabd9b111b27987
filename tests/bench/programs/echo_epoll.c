/* The limit: a hand-written epoll loop that echoes, one process, level-triggered, no threads. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What could not be sent yet. Only a slow reader has one. */
struct backlog {
    char *data;
    size_t len, done;
};

static struct backlog backlogs[1 << 20];
static int loop;

static void watch(int op, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    epoll_ctl(loop, op, fd, &event);
}

static void drop(int fd)
{
    free(backlogs[fd].data);
    memset(&backlogs[fd], 0, sizeof(backlogs[fd]));
    close(fd);
}

static void keep(int fd, const char *data, size_t len)
{
    struct backlog *b = &backlogs[fd];

    b->data = malloc(len);
    memcpy(b->data, data, len);
    b->len = len;
    b->done = 0;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void readable(int fd)
{
    static char buf[16384];
    ssize_t n = recv(fd, buf, sizeof(buf), 0), sent;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            drop(fd);
        }
        return;
    }
    sent = send(fd, buf, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(fd);
    } else if (sent < n) {
        keep(fd, buf + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
    }
}

static void writable(int fd)
{
    struct backlog *b = &backlogs[fd];
    ssize_t sent = send(fd, b->data + b->done, b->len - b->done, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(fd);
        }
        return;
    }
    b->done += (size_t)sent;
    if (b->done == b->len) {
        free(b->data);
        memset(b, 0, sizeof(*b));
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct epoll_event events[1024];

    if (argc < 2) {
        fprintf(stderr, "usage: echo_epoll PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8192) < 0) {
        perror("echo_epoll");
        return 1;
    }
    loop = epoll_create1(0);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int n = epoll_wait(loop, events, 1024, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd != listener) {
                if (events[i].events & EPOLLOUT) {
                    writable(fd);
                } else {
                    readable(fd);
                }
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                watch(EPOLL_CTL_ADD, fd, EPOLLIN);
            }
        }
    }
}
