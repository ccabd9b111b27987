/* The same with State Threads: a coroutine for every connection, its own blocking-looking calls. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <st.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void *serve(void *arg)
{
    st_netfd_t fd = arg;
    char buf[16384];
    ssize_t n;

    while ((n = st_read(fd, buf, sizeof(buf), ST_UTIME_NO_TIMEOUT)) > 0) {
        if (st_write(fd, buf, (size_t)n, ST_UTIME_NO_TIMEOUT) != n) {
            break;
        }
    }
    st_netfd_close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    st_netfd_t accepting;

    if (argc < 2) {
        fprintf(stderr, "usage: echo_st PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8192) < 0) {
        perror("echo_st");
        return 1;
    }
    /* epoll where the library was built with it; else poll, because select ends at 1,024. */
    st_set_eventsys(ST_EVENTSYS_ALT);
    if (st_get_eventsys_name() == NULL || strcmp(st_get_eventsys_name(), "epoll") != 0) {
        st_set_eventsys(ST_EVENTSYS_POLL);
    }
    if (st_init() < 0 || (accepting = st_netfd_open_socket(listener)) == NULL) {
        perror("echo_st: st_init");
        return 1;
    }
    for (;;) {
        st_netfd_t fd = st_accept(accepting, NULL, NULL, ST_UTIME_NO_TIMEOUT);

        if (fd == NULL) {
            perror("echo_st: st_accept");
            return 1;
        }
        setsockopt(st_netfd_fileno(fd), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (st_thread_create(serve, fd, 0, 65536) == NULL) {
            st_netfd_close(fd);
        }
    }
}
