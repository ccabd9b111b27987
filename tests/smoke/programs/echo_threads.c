/* A thread for every connection, blocking calls, small stacks: echo_threads PORT [STACK-KIB].
 * The ordinary pthread server; used as a subject, and natively as a backend. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buf[16384];
    ssize_t got;

    while ((got = recv(fd, buf, sizeof(buf), 0)) > 0) {
        ssize_t sent = 0;

        while (sent < got) {
            ssize_t n = send(fd, buf + sent, (size_t)(got - sent), MSG_NOSIGNAL);

            if (n < 0) {
                close(fd);
                return NULL;
            }
            sent += n;
        }
    }
    close(fd);
    return NULL;
}

static void stop(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_attr_t attr;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: echo_threads PORT [STACK-KIB]\n");
        return 2;
    }
    signal(SIGTERM, stop);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8192) < 0) {
        perror("echo_threads");
        return 1;
    }
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, (argc > 2 ? (size_t)atol(argv[2]) : 64) * 1024);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;

        if (fd < 0) {
            perror("accept");
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd) != 0) {
            perror("pthread_create");
            close(fd);
        }
    }
}
