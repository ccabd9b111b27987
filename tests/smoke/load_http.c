/* One HTTP/1.x response, fed in pieces: see load_http.h. */
#include "load_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void http_begin(struct http_response *r)
{
    r->phase = HTTP_HEAD;
    r->status = 0;
    r->closes = false;
    r->body = 0;
    r->left = UINT64_MAX; /* no length told */
    r->line_len = 0;
}

static const char *http_body_complete(struct http_response *r, const uint8_t *expect, size_t len)
{
    r->phase = HTTP_DONE;
    if (r->status != 200) {
        return r->status >= 500 ? "status 5xx" : r->status >= 400 ? "status 4xx" : "status not 200";
    }
    if (expect != NULL && r->body != len) {
        return "body too short";
    }
    return NULL;
}

static const char *http_take_body(struct http_response *r, const uint8_t *data, size_t len,
                                  const uint8_t *expect, size_t expect_len)
{
    if (expect != NULL && r->status == 200) {
        if (r->body + len > expect_len) {
            return "body too long";
        }
        if (memcmp(expect + r->body, data, len) != 0) {
            return "body differs";
        }
    }
    r->body += len;
    return NULL;
}

static bool http_header_is(const char *line, const char *name, const char **value)
{
    size_t n = strlen(name);

    if (strncasecmp(line, name, n) != 0 || line[n] != ':') {
        return false;
    }
    *value = line + n + 1;
    while (**value == ' ') {
        (*value)++;
    }
    return true;
}

static bool http_chunked(const struct http_response *r)
{
    return r->left == UINT64_MAX - 1;
}

/* One complete line of the head; an empty one ends it. */
static const char *http_head_line(struct http_response *r, const uint8_t *expect, size_t len)
{
    const char *value;

    if (r->status == 0) {
        if (strncmp(r->line, "HTTP/1.", 7) != 0 || strlen(r->line) < 12) {
            return "not HTTP";
        }
        r->status = atoi(r->line + 9);
        r->closes = r->line[7] == '0';
        return NULL;
    }
    if (r->line_len > 0) {
        if (http_header_is(r->line, "Content-Length", &value)) {
            r->left = strtoull(value, NULL, 10);
        } else if (http_header_is(r->line, "Transfer-Encoding", &value)) {
            if (strncasecmp(value, "chunked", 7) == 0) {
                r->left = UINT64_MAX - 1;
            }
        } else if (http_header_is(r->line, "Connection", &value)) {
            r->closes = strncasecmp(value, "close", 5) == 0 ||
                        (r->closes && strncasecmp(value, "keep-alive", 10) != 0);
        }
        return NULL;
    }
    if (r->status == 100) { /* interim: the real head follows */
        http_begin(r);
        return NULL;
    }
    if (r->status == 204 || r->status == 304 || r->left == 0) {
        return http_body_complete(r, expect, len);
    }
    r->phase = http_chunked(r)          ? HTTP_CHUNK_SIZE
               : r->left == UINT64_MAX ? HTTP_UNTIL_EOF
                                       : HTTP_BODY;
    return NULL;
}

static const char *http_line(struct http_response *r, const uint8_t *expect, size_t len)
{
    switch (r->phase) {
    case HTTP_HEAD:
        return http_head_line(r, expect, len);
    case HTTP_CHUNK_SIZE:
        r->left = strtoull(r->line, NULL, 16);
        r->phase = r->left == 0 ? HTTP_TRAILER : HTTP_CHUNK_DATA;
        return NULL;
    case HTTP_CHUNK_END:
        r->phase = HTTP_CHUNK_SIZE;
        return r->line_len == 0 ? NULL : "bad chunk";
    case HTTP_TRAILER:
        return r->line_len == 0 ? http_body_complete(r, expect, len) : NULL;
    default:
        return "bad phase";
    }
}

const char *http_feed(struct http_response *r, const uint8_t *data, size_t len,
                      const uint8_t *expect, size_t expect_len)
{
    const char *wrong = NULL;

    while (len > 0 && wrong == NULL) {
        if (r->phase == HTTP_DONE) {
            return "bytes past the end";
        }
        if (r->phase == HTTP_UNTIL_EOF) {
            return http_take_body(r, data, len, expect, expect_len);
        }
        if (r->phase == HTTP_BODY || r->phase == HTTP_CHUNK_DATA) {
            size_t n = len < r->left ? len : (size_t)r->left;

            wrong = http_take_body(r, data, n, expect, expect_len);
            data += n;
            len -= n;
            r->left -= n;
            if (wrong == NULL && r->left == 0) {
                if (r->phase == HTTP_BODY) {
                    wrong = http_body_complete(r, expect, expect_len);
                } else {
                    r->phase = HTTP_CHUNK_END;
                }
            }
            continue;
        }
        if (*data == '\n') {
            if (r->line_len > 0 && r->line[r->line_len - 1] == '\r') {
                r->line_len--;
            }
            r->line[r->line_len] = '\0';
            wrong = http_line(r, expect, expect_len);
            r->line_len = 0;
        } else if (r->line_len + 1 < sizeof(r->line)) {
            r->line[r->line_len++] = (char)*data;
        }
        data++;
        len--;
    }
    return wrong;
}

const char *http_end(struct http_response *r, const uint8_t *expect, size_t expect_len)
{
    if (r->phase == HTTP_UNTIL_EOF) {
        return http_body_complete(r, expect, expect_len);
    }
    return r->phase == HTTP_DONE                     ? NULL
           : r->phase == HTTP_HEAD && r->status == 0 ? "closed before an answer"
                                                     : "closed inside an answer";
}
