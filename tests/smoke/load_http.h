/* Reading one HTTP/1.x response from a stream of pieces, comparing its body as it comes. */
#ifndef SMOKE_LOAD_HTTP_H
#define SMOKE_LOAD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_phase {
    HTTP_HEAD,
    HTTP_BODY,       /* a counted body */
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_END,  /* the line end after a chunk's bytes */
    HTTP_TRAILER,
    HTTP_UNTIL_EOF,
    HTTP_DONE,
};

struct http_response {
    enum http_phase phase;
    int status;
    bool closes; /* the server will close after this one */
    size_t body; /* bytes of body seen */
    uint64_t left;
    size_t line_len;
    char line[1024];
};

void http_begin(struct http_response *r);

/* Take `len` bytes. Returns NULL while all is well (phase says whether it is complete) or what is
 * wrong with the answer. `expect` NULL: any body will do. Bytes past the end are an error, because
 * nothing is pipelined. */
const char *http_feed(struct http_response *r, const uint8_t *data, size_t len,
                      const uint8_t *expect, size_t expect_len);

/* The stream ended. Returns NULL if that completes the response, else what is wrong. */
const char *http_end(struct http_response *r, const uint8_t *expect, size_t expect_len);

#endif
