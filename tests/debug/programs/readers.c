/* Two threads in recv() on one descriptor; then the same with one reader and one writer. */
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

static void *reader(void *unused)
{
    char byte;
    (void)!recv(pair[0], &byte, 1, 0);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t a, b;
    (void)argv;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    puts("ready");
    fflush(stdout);
    pthread_create(&a, NULL, reader, NULL);
    if (argc < 2)
        pthread_create(&b, NULL, reader, NULL);
    usleep(10000);
    (void)!write(pair[1], "xx", 2);
    pthread_join(a, NULL);
    if (argc < 2)
        pthread_join(b, NULL);
    return 0;
}
