/* libmicrohttpd with a thread for every connection: microhttpd PORT DIRECTORY. */
#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <arpa/inet.h>

static enum MHD_Result answer(void *directory, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **state)
{
    char path[1024];
    struct MHD_Response *response;
    enum MHD_Result result;
    struct stat st;
    int fd;

    (void)version, (void)data, (void)data_size, (void)state;
    if (strcmp(method, "GET") != 0 || strstr(url, "..") != NULL) {
        return MHD_NO;
    }
    snprintf(path, sizeof(path), "%s%s", (const char *)directory, url);
    fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        result = MHD_queue_response(connection, MHD_HTTP_NOT_FOUND, response);
    } else {
        response = MHD_create_response_from_fd((uint64_t)st.st_size, fd);
        result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    }
    MHD_destroy_response(response);
    return result;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon;
    sigset_t set;
    int got;

    if (argc != 3) {
        fprintf(stderr, "usage: microhttpd PORT DIRECTORY\n");
        return 2;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                                  MHD_USE_POLL | MHD_USE_ERROR_LOG,
                              0, NULL, NULL, answer, argv[2], MHD_OPTION_SOCK_ADDR, &address,
                              MHD_OPTION_CONNECTION_LIMIT, 15000u, MHD_OPTION_LISTEN_BACKLOG_SIZE,
                              8192u, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "microhttpd: cannot start\n");
        return 1;
    }
    sigwait(&set, &got);
    MHD_stop_daemon(daemon);
    printf("stopped by signal %d\n", got);
    return 0;
}
