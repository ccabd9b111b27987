/* The load's side of TLS: see load.h. */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

static int tls_keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct load_run *run = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (run->session != NULL) {
        SSL_SESSION_free(run->session);
    }
    run->session = session;
    return 1; /* the reference is ours now */
}

SSL_CTX *tls_context(struct load_run *run)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    if (tls == NULL) {
        return NULL;
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_app_data(tls, run);
    if (run->plan->tls12) {
        SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
    }
    if (run->plan->resume) {
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(tls, tls_keep_session);
    }
    return tls;
}

bool tls_begin(struct load_run *run, struct connection *c)
{
    c->ssl = SSL_new(run->tls);
    if (c->ssl == NULL) {
        return false;
    }
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    SSL_set_connect_state(c->ssl);
    if (run->plan->resume && run->session != NULL) {
        SSL_set_session(c->ssl, run->session);
    }
    return true;
}

ssize_t tls_result(struct connection *c, int result)
{
    unsigned long code;

    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_EOF;
    case SSL_ERROR_SYSCALL:
        snprintf(io_error, sizeof(io_error), "%s", errno != 0 ? strerrorname_np(errno) : "EOF");
        ERR_clear_error();
        return IO_ERROR;
    default:
        code = ERR_peek_error();
        snprintf(io_error, sizeof(io_error), "TLS %s",
                 code != 0 ? ERR_reason_error_string(code) : "error");
        ERR_clear_error();
        return IO_ERROR;
    }
}

void tls_rekey(struct load_run *run, struct connection *c)
{
    if (c->ssl == NULL) {
        return;
    }
    if (SSL_version(c->ssl) <= TLS1_2_VERSION ? SSL_renegotiate(c->ssl) == 1
                                              : SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED) == 1) {
        run->tally.rekeyed++;
    }
}
