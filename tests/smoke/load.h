/* load: a closed-loop load generator that holds many connections at once and checks every answer
 * byte for byte. What its files share: the plan (immutable after the options are read), the tally,
 * and the connection. One thread, so nothing here needs a lock. */
#ifndef SMOKE_LOAD_H
#define SMOKE_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_http.h"

enum load_mode { LOAD_ECHO, LOAD_HTTP, LOAD_STORM };

/* What to do. Immutable once the options are read. */
struct load_plan {
    enum load_mode mode;
    struct sockaddr_in target; /* whom the request is for */
    struct sockaddr_in dial;   /* whom we connect to: the target or a proxy */
    const char *host;
    int port;
    bool socks5, http_proxy, tls, tls12, resume, rekey, half_close, ask_close;
    const char *path;          /* of the HTTP request */
    const char *ready;         /* made when all are open; NULL: nothing */
    const uint8_t *expect;     /* the body that must come back, NULL: any */
    size_t expect_len;
    unsigned connections, active, stalled, connecting;
    uint64_t requests;         /* UINT64_MAX: until `seconds` have passed */
    uint64_t per_connection;   /* requests before a connection is closed and made anew */
    size_t size;               /* of an echo message, bytes */
    double seconds, warm, hold, timeout;
    int server_pid;            /* whose CPU time is read around the measured window; 0: nobody's */
};

/* Error kinds are short texts; the table is small because kinds are few. */
#define TALLY_KINDS 32
#define TALLY_BUCKETS (64 * 32)

struct load_tally {
    uint64_t answered, failed, connects, resumed, rekeyed, bytes, storms, unclean_closes;
    uint64_t latency[TALLY_BUCKETS];
    uint64_t latency_max;
    struct {
        char text[96];
        uint64_t count;
    } kinds[TALLY_KINDS];
    unsigned kind_count;
};

void tally_latency(struct load_tally *t, uint64_t ns);
/* The latency below which `share` (0..1) of the answers lie, in ns. */
uint64_t tally_quantile(const struct load_tally *t, double share);
void tally_error(struct load_tally *t, const char *where, const char *what);
void tally_reset_measures(struct load_tally *t);

enum connection_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_SOCKS_HELLO,
    CONN_SOCKS_REPLY,
    CONN_HANDSHAKE,
    CONN_BUSY,    /* a request is out */
    CONN_RESTING, /* open and served, no request out */
    CONN_ENDING,  /* our side is shut, the server's end of file is awaited */
    CONN_STALLED, /* said half of something and will never say the rest */
};

struct connection {
    int fd;
    unsigned number;
    enum connection_state state;
    bool served; /* at least one answer since the program began */
    SSL *ssl;
    const uint8_t *out;
    size_t out_len, out_done, in_done;
    uint64_t since;  /* when the present state or request began, ns */
    uint64_t done;   /* requests answered on this descriptor */
    uint64_t serial; /* requests begun on this slot: picks the echo pattern */
    uint8_t socks[64];
    size_t socks_have;
    struct http_response http;
};

/* What a connection asks of the run that owns it. */
struct load_run {
    const struct load_plan *plan;
    struct load_tally tally;
    int epoll;
    SSL_CTX *tls;
    SSL_SESSION *session; /* the newest ticket, for --resume */
    uint64_t issued;      /* requests handed out */
    bool holding;         /* answered connections rest instead of asking again */
    bool stop;            /* hand out nothing more */
    unsigned open, connecting, resting, served;
    unsigned failures_in_a_row;
    const uint8_t *pattern; /* random bytes: an echo message is a window into them */
};

uint64_t load_now(void);

/* May this slot send one more request? Takes it from the shared budget when so. */
bool connection_take_ticket(struct load_run *run);
/* Open slot `c`; on success events follow. */
void connection_open(struct load_run *run, struct connection *c);
/* Go as far as possible without blocking. Called at every readiness edge. */
void connection_advance(struct load_run *run, struct connection *c);
/* Start the next request on an open, resting connection, or close it when the budget is used up. */
void connection_next(struct load_run *run, struct connection *c);
void connection_close(struct load_run *run, struct connection *c);
/* Count the request that is out as failed and drop the connection. */
void connection_fail(struct load_run *run, struct connection *c, const char *what);
/* The request bytes of the plan, made once. */
void connection_prepare(struct load_run *run);

/* What an io call can say besides a number of bytes. */
enum { IO_AGAIN = -1, IO_ERROR = -2, IO_EOF = 0 };

/* The text of the error of the io call that returned IO_ERROR. */
extern char io_error[128];

/* TLS: a context for the plan; NULL when there is none to be had. */
SSL_CTX *tls_context(struct load_run *run);
/* Begin TLS on an open connection, with the last session where the plan says so. */
bool tls_begin(struct load_run *run, struct connection *c);
/* The meaning of what an SSL_ function returned that was not above 0. */
ssize_t tls_result(struct connection *c, int result);
/* Ask for new keys, to be negotiated with the next bytes: a renegotiation under TLS 1.2. */
void tls_rekey(struct load_run *run, struct connection *c);

#endif
