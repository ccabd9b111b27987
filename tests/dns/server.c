/* The DNS server of the tests: answers from a file of rules, honestly or not.
 *
 *     server RULES LOG ADDRESS...
 *
 * Listens on port 53 of each address, UDP and TCP; an address that begins with '-' is heard and
 * never answered. RULES has a line for each rule:
 *
 *     NAME A|AAAA|CNAME|PTR DATA...       records; NAME may begin with "*."
 *     NAME rcode NAME-OF-CODE [TYPE]      refuse, for this type of question alone if given
 *     NAME silent [TYPE]                  never answer
 *     NAME delay MILLISECONDS             answer then
 *     NAME mangle KIND                    answer in a way that no server should
 *
 * The rules are read again when SIGHUP comes. LOG gets a line "TYPE NAME udp|tcp" for each
 * question. "ready" is printed once it listens. Ends when its standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rules.h"

enum { PACKET = 65536, PENDING = 8192, SOCKETS = 32, STREAMS = 256 };

/* ---- Packets ---- */

struct packet {
    uint8_t bytes[PACKET];
    size_t length;
};

static void put(struct packet *p, const void *bytes, size_t count)
{
    if (p->length + count > sizeof p->bytes)
        return;
    memcpy(p->bytes + p->length, bytes, count);
    p->length += count;
}

static void put16(struct packet *p, unsigned value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    put(p, bytes, 2);
}

static void set16(struct packet *p, size_t at, unsigned value)
{
    p->bytes[at] = (uint8_t)(value >> 8);
    p->bytes[at + 1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static void put_name(struct packet *p, const char *name)
{
    while (*name) {
        size_t label = strcspn(name, ".");
        uint8_t length = (uint8_t)label;
        put(p, &length, 1);
        put(p, name, label);
        name += label + (name[label] == '.');
    }
    put(p, "", 1);
}

/* Where the record's data begin; its length is set by record_end(). */
static size_t record_begin(struct packet *p, const char *owner, int type)
{
    put_name(p, owner);
    put16(p, (unsigned)type);
    put16(p, 1);
    put16(p, 0);
    put16(p, 60);
    put16(p, 0);
    return p->length;
}

static void record_end(struct packet *p, size_t data)
{
    set16(p, data - 2, (unsigned)(p->length - data));
    set16(p, 6, get16(p->bytes + 6) + 1);
}

static void put_record(struct packet *p, const char *owner, const struct rule *r)
{
    uint8_t address[16];
    size_t data = record_begin(p, owner, r->type);
    if (r->type == TYPE_A && inet_pton(AF_INET, r->data, address) == 1)
        put(p, address, 4);
    else if (r->type == TYPE_AAAA && inet_pton(AF_INET6, r->data, address) == 1)
        put(p, address, 16);
    else
        put_name(p, r->data);
    record_end(p, data);
}

/* ---- Questions ---- */

struct question {
    int fd;
    bool stream;
    struct sockaddr_storage from;
    socklen_t from_length;
    unsigned id;
    char name[NAME];
    int type;
    size_t room;            /* for a datagram */
    int64_t due;            /* ns */
    uint8_t echo[NAME + 8]; /* the question as it came */
    size_t echo_length;
};

static FILE *log_file;

static bool question_read(struct question *q, const uint8_t *bytes, size_t length)
{
    size_t at = 12, used = 0;
    if (length < 17 || get16(bytes + 4) != 1)
        return false;
    q->id = get16(bytes);
    while (at < length && bytes[at]) {
        size_t label = bytes[at];
        if (label > 63 || at + 1 + label >= length || used + label + 2 > sizeof q->name)
            return false;
        memcpy(q->name + used, bytes + at + 1, label);
        used += label;
        q->name[used++] = '.';
        at += 1 + label;
    }
    q->name[used ? used - 1 : 0] = 0;
    if (at + 5 > length)
        return false;
    q->type = (int)get16(bytes + at + 1);
    q->echo_length = at + 5 - 12;
    memcpy(q->echo, bytes + 12, q->echo_length);
    q->room = 512;
    at += 5;
    if (get16(bytes + 10) && at + 5 <= length && get16(bytes + at + 1) == TYPE_OPT)
        q->room = get16(bytes + at + 3);
    const char *word = q->type == TYPE_A      ? "A"
                       : q->type == TYPE_AAAA ? "AAAA"
                       : q->type == TYPE_PTR  ? "PTR"
                                              : "?";
    fprintf(log_file, "%s %s %s\n", word, q->name, q->stream ? "tcp" : "udp");
    fflush(log_file);
    return true;
}

static void answer_begin(struct packet *p, const struct question *q)
{
    p->length = 0;
    put16(p, q->id);
    put16(p, 0x8580); /* an authoritative answer; recursion asked for and there */
    put16(p, 1);
    put16(p, 0);
    put16(p, 0);
    put16(p, 0);
    put(p, q->echo, q->echo_length);
}

static void answer_code(struct packet *p, int code)
{
    p->bytes[3] = (uint8_t)((p->bytes[3] & 0xf0) | code);
}

/* Aliases, then records; an alias that leads nowhere is an answer too. */
static void answer_records(struct packet *p, const struct question *q)
{
    const char *name = q->name;
    const struct rule *alias;
    for (int depth = 0; depth < 16 && (alias = rule_first(name, RECORD, TYPE_CNAME)); depth++) {
        put_record(p, name, alias);
        name = alias->data;
    }
    int at = 0;
    for (const struct rule *r; (r = rule_next(name, RECORD, q->type, &at));)
        put_record(p, name, r);
    if (!name_exists(name))
        answer_code(p, 3);
}

static void answer_make(struct packet *p, const struct question *q)
{
    const struct rule *code = rule_first(q->name, RCODE, q->type);
    answer_begin(p, q);
    if (code)
        answer_code(p, code->number);
    else
        answer_records(p, q);
    if (!q->stream && p->length > q->room) {
        answer_begin(p, q);
        p->bytes[2] |= 2; /* truncated */
    }
}

/* ---- Answers ---- */

static void deliver(const struct question *q, const struct packet *p)
{
    if (q->stream) {
        uint8_t size[2] = {(uint8_t)(p->length >> 8), (uint8_t)p->length};
        if (send(q->fd, size, 2, MSG_NOSIGNAL | MSG_MORE) == 2)
            send(q->fd, p->bytes, p->length, MSG_NOSIGNAL);
        return;
    }
    sendto(q->fd, p->bytes, p->length, MSG_NOSIGNAL, (const struct sockaddr *)&q->from,
           q->from_length);
}

static void put_address(struct packet *p, const struct question *q, unsigned length)
{
    static const uint8_t bytes[64] = {10, 9, 8, 7};
    size_t data = record_begin(p, q->name, q->type);
    put(p, bytes, length);
    record_end(p, data);
}

/* Answers that no server should give. */
static void deliver_mangled(const struct question *q, const char *how)
{
    static struct packet p;
    unsigned length = q->type == TYPE_AAAA ? 16 : 4;
    answer_begin(&p, q);
    if (!strcmp(how, "loop")) { /* a name that points to itself */
        unsigned here = (unsigned)p.length;
        put16(&p, 0xc000 | here);
        put16(&p, (unsigned)q->type);
        put16(&p, 1);
        put16(&p, 0);
        put16(&p, 60);
        put16(&p, length);
        put(&p, "\1\2\3\4\1\2\3\4\1\2\3\4\1\2\3\4", length);
        set16(&p, 6, 1);
    } else if (!strcmp(how, "alias-loop")) {
        size_t data = record_begin(&p, q->name, TYPE_CNAME);
        put16(&p, 0xc000 | (unsigned)data);
        record_end(&p, data);
    } else if (!strcmp(how, "short")) {
        put_address(&p, q, length);
        p.length -= 3;
    } else if (!strcmp(how, "header")) {
        p.length = 7;
    } else if (!strcmp(how, "length")) {
        put_address(&p, q, length);
        set16(&p, p.length - length - 2, 60000);
    } else if (!strcmp(how, "size")) { /* an address of one byte less */
        put_address(&p, q, length - 1);
    } else if (!strcmp(how, "count")) {
        put_address(&p, q, length);
        set16(&p, 6, 65535);
    } else if (!strcmp(how, "label")) { /* reserved types of labels */
        put16(&p, 0x8041);
        put_address(&p, q, length);
        set16(&p, 6, 2);
    } else if (!strcmp(how, "question")) {
        struct question other = *q;
        other.echo[1] ^= 1;
        answer_begin(&p, &other);
        put_address(&p, q, length);
    } else if (!strcmp(how, "id")) {
        put_address(&p, q, length);
        p.bytes[0] ^= 0x55;
    } else if (!strcmp(how, "garbage")) {
        for (size_t i = 2; i < 400; i++)
            p.bytes[i] = (uint8_t)(i * 167 + 13);
        p.length = 400;
    } else if (!strcmp(how, "huge")) {
        for (int i = 0; i < 1500; i++)
            put_address(&p, q, length);
    } else if (!strcmp(how, "twice")) {
        put_address(&p, q, length);
        deliver(q, &p);
    } else if (!strcmp(how, "empty")) { /* and then the right one */
        p.length = 0;
        deliver(q, &p);
        answer_begin(&p, q);
        put_address(&p, q, length);
    } else if (!strcmp(how, "stream") && !q->stream) {
        p.bytes[2] |= 2;
    } else if (!strcmp(how, "stream")) { /* says that there is more than there is */
        send(q->fd, "\377\377abc", 5, MSG_NOSIGNAL);
        shutdown(q->fd, SHUT_RDWR);
        return;
    } else if (!strcmp(how, "name")) { /* a canonical name that is none */
        size_t data = record_begin(&p, q->name, TYPE_CNAME);
        put(&p, "\7a b!\"\\c\4test\0", 14);
        record_end(&p, data);
        size_t address = record_begin(&p, "a b!\"\\c.test", q->type);
        put(&p, "\12\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", length);
        record_end(&p, address);
    }
    deliver(q, &p);
}

static struct question pending[PENDING];
static int pending_count;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void answer(const struct question *q)
{
    static struct packet p;
    const struct rule *mangle = rule_first(q->name, MANGLE, q->type);
    if (mangle) {
        deliver_mangled(q, mangle->data);
        return;
    }
    answer_make(&p, q);
    deliver(q, &p);
}

static void asked(struct question *q)
{
    const struct rule *delay = rule_first(q->name, DELAY, q->type);
    if (rule_first(q->name, SILENT, q->type))
        return;
    if (!delay || pending_count == PENDING) {
        answer(q);
        return;
    }
    q->due = now_ns() + (int64_t)delay->number * 1000000;
    pending[pending_count++] = *q;
}

/* Answers what is due; returns ms until the next one, -1 when nothing waits. */
static int pending_answer(void)
{
    int64_t now = now_ns(), next = INT64_MAX;
    int kept = 0;
    for (int i = 0; i < pending_count; i++) {
        if (pending[i].due <= now) {
            answer(&pending[i]);
            continue;
        }
        next = pending[i].due < next ? pending[i].due : next;
        if (kept != i)
            pending[kept] = pending[i];
        kept++;
    }
    pending_count = kept;
    return kept ? (int)((next - now) / 1000000) + 1 : -1;
}

/* ---- Sockets ---- */

struct endpoint {
    int fd;
    enum { DATAGRAMS, LISTENER, STREAM } what;
    bool deaf; /* heard, never answered */
    uint8_t bytes[2 + 1024];
    size_t used;
};

static struct endpoint endpoints[SOCKETS + STREAMS];
static int endpoint_count;

static void endpoint_add(int fd, int what, bool deaf)
{
    struct endpoint *e = &endpoints[endpoint_count++];
    e->fd = fd;
    e->what = what;
    e->deaf = deaf;
    e->used = 0;
}

static void endpoint_open(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;
    bool deaf = *text == '-';
    socklen_t length = sizeof *four;
    text += deaf;
    four->sin_family = AF_INET;
    four->sin_port = htons(53);
    if (inet_pton(AF_INET, text, &four->sin_addr) != 1) {
        six->sin6_family = AF_INET6;
        length = sizeof *six;
        inet_pton(AF_INET6, text, &six->sin6_addr);
    }
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        int fd = socket(address.ss_family, type | SOCK_CLOEXEC, 0), one = 1, room = 4 << 20;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (bind(fd, (struct sockaddr *)&address, length) ||
            (type == SOCK_STREAM && listen(fd, 64))) {
            fprintf(stderr, "server: %s: %s\n", text, strerror(errno));
            exit(1);
        }
        endpoint_add(fd, type == SOCK_STREAM ? LISTENER : DATAGRAMS, deaf);
    }
}

static void read_datagrams(const struct endpoint *e)
{
    uint8_t bytes[1024];
    for (int i = 0; i < 64; i++) {
        struct question q = {.fd = e->fd, .from_length = sizeof q.from};
        ssize_t got = recvfrom(e->fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&q.from,
                               &q.from_length);
        if (got < 0)
            return;
        if (question_read(&q, bytes, (size_t)got) && !e->deaf)
            asked(&q);
    }
}

/* False when the connection is over. */
static bool read_stream(struct endpoint *e)
{
    ssize_t got = recv(e->fd, e->bytes + e->used, sizeof e->bytes - e->used, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    e->used += (size_t)got;
    while (e->used >= 2 && e->used >= 2 + get16(e->bytes)) {
        struct question q = {.fd = e->fd, .stream = true};
        size_t size = get16(e->bytes);
        if (question_read(&q, e->bytes + 2, size) && !e->deaf)
            asked(&q);
        memmove(e->bytes, e->bytes + 2 + size, e->used - 2 - size);
        e->used -= 2 + size;
    }
    return e->used < sizeof e->bytes;
}

static void endpoint_ready(int i)
{
    struct endpoint *e = &endpoints[i];
    if (e->what == DATAGRAMS) {
        read_datagrams(e);
    } else if (e->what == LISTENER) {
        int fd = accept(e->fd, NULL, NULL);
        if (fd >= 0 && endpoint_count < SOCKETS + STREAMS)
            endpoint_add(fd, STREAM, e->deaf);
        else if (fd >= 0)
            close(fd);
    } else if (!read_stream(e)) {
        for (int k = 0; k < pending_count; k++)
            if (pending[k].fd == e->fd)
                pending[k] = pending[--pending_count];
        close(e->fd);
        *e = endpoints[--endpoint_count];
    }
}

static volatile sig_atomic_t reread;

static void on_hup(int sig)
{
    (void)sig;
    reread = 1;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: server RULES LOG ADDRESS...\n");
        return 2;
    }
    rules_read(argv[1]);
    log_file = fopen(argv[2], "a");
    if (!log_file) {
        perror(argv[2]);
        return 1;
    }
    for (int i = 3; i < argc && endpoint_count + 2 <= SOCKETS; i++)
        endpoint_open(argv[i]);
    signal(SIGHUP, on_hup);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct pollfd fds[1 + SOCKETS + STREAMS] = {{.fd = 0, .events = POLLIN}};
        for (int i = 0; i < endpoint_count; i++)
            fds[1 + i] = (struct pollfd){.fd = endpoints[i].fd, .events = POLLIN};
        int n = poll(fds, (nfds_t)endpoint_count + 1, pending_answer());
        if (reread) {
            reread = 0;
            rules_read(argv[1]);
            printf("ready\n");
            fflush(stdout);
        }
        if (n > 0 && fds[0].revents)
            return 0;
        for (int i = endpoint_count - 1; n > 0 && i >= 0; i--)
            if (fds[1 + i].revents)
                endpoint_ready(i);
    }
}
