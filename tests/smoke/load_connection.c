/* One connection of the load: dial, proxy, TLS, requests, end. Descriptors are registered once,
 * edge-triggered, so a steady run makes no epoll_ctl; every step goes on until it would block. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define PATTERN_BYTES (1u << 20)

static uint8_t inbox[256 * 1024];
static char http_request[2048];
static size_t http_request_len;
char io_error[128];

/* The first bytes of a TLS ClientHello that promises more than it brings. */
static const uint8_t half_hello[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03};

void connection_prepare(struct load_run *run)
{
    const struct load_plan *plan = run->plan;
    size_t len = PATTERN_BYTES + plan->size;
    uint8_t *pattern = malloc(len);
    uint64_t x = 88172645463325252ull;

    if (pattern == NULL) {
        perror("load: malloc");
        exit(2);
    }
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (uint8_t)(x >> 24);
    }
    run->pattern = pattern;
    if (plan->path != NULL) {
        char origin[300] = "";

        if (plan->http_proxy) {
            snprintf(origin, sizeof(origin), "http://%s:%d", plan->host, plan->port);
        }
        http_request_len = (size_t)snprintf(
            http_request, sizeof(http_request),
            "GET %s%s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: load\r\nAccept: */*\r\n%s\r\n", origin,
            plan->path, plan->host, plan->port, plan->ask_close ? "Connection: close\r\n" : "");
        if (http_request_len >= sizeof(http_request)) {
            fprintf(stderr, "load: the path is too long\n");
            exit(2);
        }
    }
}

static ssize_t io_plain_result(ssize_t n)
{
    if (n >= 0) {
        return n;
    }
    if (errno == EAGAIN) {
        return IO_AGAIN;
    }
    snprintf(io_error, sizeof(io_error), "%s", strerrorname_np(errno));
    return IO_ERROR;
}

static ssize_t io_read(struct connection *c, void *buf, size_t len)
{
    if (c->ssl != NULL) {
        int n = SSL_read(c->ssl, buf, (int)len);

        return n > 0 ? n : tls_result(c, n);
    }
    return io_plain_result(recv(c->fd, buf, len, 0));
}

static ssize_t io_write(struct connection *c, const void *buf, size_t len)
{
    if (c->ssl != NULL) {
        int n = SSL_write(c->ssl, buf, (int)len);

        return n > 0 ? n : tls_result(c, n);
    }
    return io_plain_result(send(c->fd, buf, len, MSG_NOSIGNAL));
}

static const char *connection_doing(const struct connection *c)
{
    switch (c->state) {
    case CONN_CONNECTING:
        return "connect";
    case CONN_SOCKS_HELLO:
    case CONN_SOCKS_REPLY:
        return "socks";
    case CONN_HANDSHAKE:
        return "handshake";
    case CONN_BUSY:
        return c->out_done < c->out_len ? "request" : "answer";
    case CONN_RESTING:
        return "idle";
    case CONN_ENDING:
        return "end";
    default:
        return "closed";
    }
}

static void connection_set(struct load_run *run, struct connection *c, enum connection_state state)
{
    bool was = c->state == CONN_CONNECTING || c->state == CONN_SOCKS_HELLO ||
               c->state == CONN_SOCKS_REPLY || c->state == CONN_HANDSHAKE;
    bool is = state == CONN_CONNECTING || state == CONN_SOCKS_HELLO || state == CONN_SOCKS_REPLY ||
              state == CONN_HANDSHAKE;

    run->connecting += (unsigned)is - (unsigned)was;
    run->resting += (unsigned)(state == CONN_RESTING) - (unsigned)(c->state == CONN_RESTING);
    c->state = state;
}

void connection_close(struct load_run *run, struct connection *c)
{
    if (c->ssl != NULL) {
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    c->fd = -1;
    run->open--;
    connection_set(run, c, CONN_CLOSED);
}

/* Close with a reset instead of an orderly end. */
static void connection_reset(struct load_run *run, struct connection *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    connection_close(run, c);
}

void connection_fail(struct load_run *run, struct connection *c, const char *what)
{
    tally_error(&run->tally, connection_doing(c), what);
    run->tally.failed++;
    run->failures_in_a_row++;
    connection_reset(run, c);
}

bool connection_take_ticket(struct load_run *run)
{
    if (run->stop || run->issued >= run->plan->requests) {
        return false;
    }
    run->issued++;
    return true;
}

void connection_open(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        tally_error(&run->tally, "socket", strerrorname_np(errno));
        run->tally.failed++;
        run->failures_in_a_row++;
        return;
    }
    run->open++;
    c->done = 0;
    c->socks_have = 0;
    c->out_done = c->out_len = c->in_done = 0;
    c->since = load_now();
    connection_set(run, c, CONN_CONNECTING);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (const struct sockaddr *)&plan->dial, sizeof(plan->dial)) < 0 &&
        errno != EINPROGRESS) {
        connection_fail(run, c, strerrorname_np(errno));
        return;
    }
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) {
        connection_fail(run, c, strerrorname_np(errno));
    }
}

static void connection_begin_request(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;

    if (plan->path != NULL) {
        c->out = (const uint8_t *)http_request;
        c->out_len = http_request_len;
        http_begin(&c->http);
    } else {
        c->out = run->pattern + (c->number * 7919ull + c->serial * 64) % PATTERN_BYTES;
        c->out_len = plan->size;
    }
    c->serial++;
    c->out_done = c->in_done = 0;
    c->since = load_now();
    connection_set(run, c, CONN_BUSY);
}

static void connection_end(struct load_run *run, struct connection *c)
{
    if (!run->plan->half_close) {
        if (c->ssl != NULL) {
            SSL_shutdown(c->ssl);
        }
        connection_close(run, c);
        return;
    }
    if (c->ssl != NULL) {
        SSL_shutdown(c->ssl);
    } else {
        shutdown(c->fd, SHUT_WR);
    }
    c->since = load_now();
    connection_set(run, c, CONN_ENDING);
}

void connection_next(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;

    if (run->holding || (plan->active > 0 && c->number >= plan->active && !run->stop)) {
        connection_set(run, c, CONN_RESTING);
        return;
    }
    if (c->done >= plan->per_connection) {
        connection_end(run, c);
        return;
    }
    if (connection_take_ticket(run)) {
        if (plan->rekey) {
            tls_rekey(run, c);
        }
        connection_begin_request(run, c);
    } else {
        connection_end(run, c);
    }
}

/* An answer is complete and right. */
static void connection_answered(struct load_run *run, struct connection *c)
{
    tally_latency(&run->tally, load_now() - c->since);
    run->tally.answered++;
    run->failures_in_a_row = 0;
    c->done++;
    if (!c->served) {
        c->served = true;
        run->served++;
    }
    if (run->plan->path != NULL && c->http.closes) {
        connection_end(run, c);
        return;
    }
    connection_next(run, c);
}

static bool step_send(struct load_run *run, struct connection *c)
{
    ssize_t n = io_write(c, c->out + c->out_done, c->out_len - c->out_done);

    if (n == IO_AGAIN) {
        return false;
    }
    if (n < 0) {
        connection_fail(run, c, io_error);
        return true;
    }
    c->out_done += (size_t)n;
    return true;
}

static bool step_receive(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;
    size_t room = sizeof(inbox);
    const char *wrong = NULL;
    ssize_t n;

    if (plan->path == NULL && c->out_len - c->in_done < room) {
        room = c->out_len - c->in_done;
    }
    n = io_read(c, inbox, room);
    if (n == IO_AGAIN) {
        return false;
    }
    if (n == IO_ERROR) {
        connection_fail(run, c, io_error);
        return true;
    }
    if (n == IO_EOF) {
        wrong = plan->path != NULL ? http_end(&c->http, plan->expect, plan->expect_len)
                                   : "closed before an answer";
        c->http.closes = true;
    } else if (plan->path != NULL) {
        wrong = http_feed(&c->http, inbox, (size_t)n, plan->expect, plan->expect_len);
    } else if (memcmp(c->out + c->in_done, inbox, (size_t)n) != 0) {
        wrong = "echo differs";
    }
    run->tally.bytes += (size_t)n;
    c->in_done += (size_t)n;
    if (wrong != NULL) {
        connection_fail(run, c, wrong);
    } else if (plan->path != NULL ? c->http.phase == HTTP_DONE : c->in_done == c->out_len) {
        connection_answered(run, c);
    } else { /* half an answer: a server under Nagle's rule waits for our acknowledgement */
        int one = 1;

        setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
    }
    return true;
}

static bool step_busy(struct load_run *run, struct connection *c)
{
    bool sent = c->out_done < c->out_len && step_send(run, c);

    if (c->state != CONN_BUSY) {
        return true;
    }
    return step_receive(run, c) || sent;
}

/* Half a request, then a reset. Under TLS seven of eight break off inside the handshake. */
static void step_storm(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;

    if (plan->tls && c->ssl == NULL) {
        (void)!send(c->fd, half_hello, sizeof(half_hello), MSG_NOSIGNAL);
    } else if (plan->path != NULL) {
        io_write(c, http_request, http_request_len / 2);
    } else {
        io_write(c, run->pattern, plan->size / 2 + 1);
    }
    run->tally.storms++;
    c->serial++;
    run->failures_in_a_row = 0;
    connection_reset(run, c);
}

static void step_ready(struct load_run *run, struct connection *c)
{
    run->tally.connects++;
    if (run->plan->mode == LOAD_STORM) {
        step_storm(run, c);
    } else {
        connection_begin_request(run, c);
    }
}

/* The way to the target is open: start TLS, or the first request. */
static bool step_open(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;

    if (c->number >= plan->connections) { /* one of the stalled: say half, and no more */
        const void *half = plan->tls ? (const void *)half_hello
                                     : plan->path != NULL ? http_request : (const void *)run->pattern;

        (void)!send(c->fd, half, plan->tls ? sizeof(half_hello) : 8, MSG_NOSIGNAL);
        connection_set(run, c, CONN_STALLED);
        return false;
    }
    if (!plan->tls || (plan->mode == LOAD_STORM && c->serial % 8 != 0)) {
        step_ready(run, c);
        return true;
    }
    if (!tls_begin(run, c)) {
        connection_fail(run, c, "SSL_new");
        return true;
    }
    connection_set(run, c, CONN_HANDSHAKE);
    return true;
}

static bool step_connecting(struct load_run *run, struct connection *c)
{
    static const uint8_t hello[] = {5, 1, 0};
    struct sockaddr_in peer;
    socklen_t len = sizeof(int);
    int err = 0;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err != 0) {
        connection_fail(run, c, strerrorname_np(err));
        return true;
    }
    len = sizeof(peer);
    if (getpeername(c->fd, (struct sockaddr *)&peer, &len) < 0) {
        return false; /* not connected yet */
    }
    if (!run->plan->socks5) {
        return step_open(run, c);
    }
    if (io_write(c, hello, sizeof(hello)) != (ssize_t)sizeof(hello)) {
        connection_fail(run, c, io_error);
        return true;
    }
    connection_set(run, c, CONN_SOCKS_HELLO);
    return true;
}

static bool step_socks(struct load_run *run, struct connection *c)
{
    const struct load_plan *plan = run->plan;
    size_t want = c->state == CONN_SOCKS_HELLO ? 2 : 10;
    uint8_t ask[10] = {5, 1, 0, 1};
    ssize_t n = recv(c->fd, c->socks + c->socks_have, want - c->socks_have, 0);

    if (n < 0 && errno == EAGAIN) {
        return false;
    }
    if (n <= 0) {
        connection_fail(run, c, n == 0 ? "closed" : strerrorname_np(errno));
        return true;
    }
    c->socks_have += (size_t)n;
    if (c->socks_have < want) {
        return true;
    }
    c->socks_have = 0;
    if (c->socks[0] != 5 || c->socks[1] != 0) {
        connection_fail(run, c, "refused");
        return true;
    }
    if (c->state == CONN_SOCKS_REPLY) {
        return step_open(run, c);
    }
    memcpy(ask + 4, &plan->target.sin_addr, 4);
    memcpy(ask + 8, &plan->target.sin_port, 2);
    (void)!send(c->fd, ask, sizeof(ask), MSG_NOSIGNAL);
    connection_set(run, c, CONN_SOCKS_REPLY);
    return true;
}

static bool step_handshake(struct load_run *run, struct connection *c)
{
    int n = SSL_do_handshake(c->ssl);
    ssize_t result;

    if (n == 1) {
        run->tally.resumed += SSL_session_reused(c->ssl) ? 1 : 0;
        step_ready(run, c);
        return true;
    }
    result = tls_result(c, n);
    if (result == IO_AGAIN) {
        return false;
    }
    connection_fail(run, c, result == IO_EOF ? "closed" : io_error);
    return true;
}

static bool step_resting(struct load_run *run, struct connection *c)
{
    ssize_t n = io_read(c, inbox, sizeof(inbox));

    if (n == IO_AGAIN) {
        return false;
    }
    connection_fail(run, c, n == IO_EOF ? "closed" : n > 0 ? "unasked bytes" : io_error);
    return true;
}

static bool step_ending(struct load_run *run, struct connection *c)
{
    ssize_t n = io_read(c, inbox, sizeof(inbox));

    if (n == IO_AGAIN) {
        return false;
    }
    if (n > 0) {
        tally_error(&run->tally, "end", "bytes past the end");
        run->tally.failed++;
    } else if (n == IO_ERROR) { /* under TLS: an end of file without close-notify, or a reset */
        run->tally.unclean_closes++;
    }
    connection_close(run, c);
    return true;
}

void connection_advance(struct load_run *run, struct connection *c)
{
    bool more = true;

    while (more) {
        switch (c->state) {
        case CONN_CONNECTING:
            more = step_connecting(run, c);
            break;
        case CONN_SOCKS_HELLO:
        case CONN_SOCKS_REPLY:
            more = step_socks(run, c);
            break;
        case CONN_HANDSHAKE:
            more = step_handshake(run, c);
            break;
        case CONN_BUSY:
            more = step_busy(run, c);
            break;
        case CONN_RESTING:
            more = step_resting(run, c);
            break;
        case CONN_ENDING:
            more = step_ending(run, c);
            break;
        case CONN_STALLED:
        case CONN_CLOSED:
            more = false;
            break;
        }
    }
}
