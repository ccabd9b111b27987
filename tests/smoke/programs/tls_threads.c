/* TLS with libssl, a thread for every connection: tls_threads PORT ASKING-PORT CERTIFICATE. An echo.
 *
 * Clients may renegotiate under TLS 1.2. On the second port the server asks for new keys itself, at
 * every fourth message. OpenSSL keeps a queue of errors for each thread: each thread here leaves
 * errors that bear its number, lets others run, and ends the process when it finds anything else
 * there, while handshakes fail in other threads. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ASK_EVERY = 4, ERRORS_LEFT = 3 };

struct listener {
    int fd;
    bool asks; /* for new keys */
};

struct connection {
    int fd;
    bool asks;
};

static SSL_CTX *context;
static int user_library;
static atomic_long handshakes_failed;

static void die(const char *what, long number)
{
    fprintf(stderr, "tls_threads: %s (%ld)\n", what, number);
    abort();
}

static void leave_errors(int number)
{
    for (int i = 0; i < ERRORS_LEFT; i++) {
        ERR_new();
        ERR_set_debug(__FILE__, i, __func__);
        ERR_set_error(user_library, number, "of thread %d", number);
    }
}

/* The thread's own errors, in order, and no others. */
static void find_errors(int number)
{
    for (int i = 0; i < ERRORS_LEFT; i++) {
        const char *data;
        char own[32];
        int line, flags;
        unsigned long code = ERR_get_error_all(NULL, &line, NULL, &data, &flags);

        snprintf(own, sizeof(own), "of thread %d", number);
        if (ERR_GET_LIB(code) != user_library || ERR_GET_REASON(code) != number || line != i ||
            !(flags & ERR_TXT_STRING) || strcmp(data, own) != 0) {
            die("another thread's error, or none", number);
        }
    }
    if (ERR_peek_error() != 0) {
        die("an error too many", number);
    }
}

static int write_all(SSL *ssl, const char *buf, size_t len)
{
    while (len > 0) {
        size_t done;

        if (SSL_write_ex(ssl, buf, len, &done) != 1) {
            return -1;
        }
        buf += done;
        len -= done;
    }
    return 0;
}

static void ask_for_keys(SSL *ssl)
{
    if (SSL_version(ssl) > TLS1_2_VERSION) {
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    } else {
        SSL_renegotiate(ssl);
        SSL_do_handshake(ssl); /* sends the request; the client's answer comes with its next bytes */
    }
}

static void serve(SSL *ssl, int number, bool asks)
{
    char buf[16384];
    size_t n;

    for (int messages = 1; SSL_read_ex(ssl, buf, sizeof(buf), &n) == 1; messages++) {
        leave_errors(number);
        usleep((unsigned)(number * 37 + messages) % 400); /* others run, and leave theirs */
        find_errors(number);
        if (write_all(ssl, buf, n) < 0) {
            break;
        }
        if (asks && messages % ASK_EVERY == 0) {
            ask_for_keys(ssl);
        }
    }
    if (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) {
        SSL_shutdown(ssl); /* close-notify answers close-notify */
    }
    ERR_clear_error();
}

static void *connection_main(void *arg)
{
    struct connection c = *(struct connection *)arg;
    SSL *ssl = SSL_new(context);

    free(arg);
    if (ERR_peek_error() != 0) {
        die("a new thread finds an error", c.fd);
    }
    SSL_set_fd(ssl, c.fd);
    if (SSL_accept(ssl) == 1) {
        serve(ssl, c.fd, c.asks);
    } else {
        atomic_fetch_add(&handshakes_failed, 1);
        ERR_clear_error();
    }
    SSL_free(ssl);
    close(c.fd);
    return NULL;
}

static void *listener_main(void *arg)
{
    const struct listener *l = arg;
    pthread_attr_t detached;
    int one = 1;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 128 * 1024);
    for (;;) {
        struct connection *c = malloc(sizeof(*c));
        pthread_t thread;

        if (c == NULL) {
            die("out of memory", 0);
        }
        c->asks = l->asks;
        c->fd = accept(l->fd, NULL, NULL);
        if (c->fd < 0) {
            free(c);
            continue;
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&thread, &detached, connection_main, c) != 0) {
            close(c->fd);
            free(c);
        }
    }
    return NULL;
}

static int listen_at(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    address.sin_port = htons((uint16_t)atoi(port));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
        perror("tls_threads");
        exit(1);
    }
    return fd;
}

static void make_context(const char *certificate)
{
    context = SSL_CTX_new(TLS_server_method());
    user_library = ERR_get_next_error_library();
    SSL_CTX_set_options(context, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"echo", 4);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct listener quiet, asking = {.asks = true};
    pthread_t thread;
    sigset_t set;
    int got;

    if (argc != 4) {
        fprintf(stderr, "usage: tls_threads PORT ASKING-PORT CERTIFICATE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    make_context(argv[3]);
    asking.fd = listen_at(argv[2]);
    quiet.fd = listen_at(argv[1]);
    if (pthread_create(&thread, NULL, listener_main, &quiet) != 0 ||
        pthread_create(&thread, NULL, listener_main, &asking) != 0) {
        die("no threads", 0);
    }
    sigwait(&set, &got);
    /* How many failed is the storm's business; that some did is what the error queues had beside. */
    printf("stopped by signal %d; %s\n", got,
           atomic_load(&handshakes_failed) > 0 ? "handshakes failed, as they should" : "none failed");
    return 0;
}
