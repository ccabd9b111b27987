#include "hub/debug/put.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "coro/decimal.h"
#include "coro/sys.h"

void put_start(struct put *p, int fd)
{
    p->fd = fd;
    p->failed = false;
    p->used = 0;
}

/* The descriptor may be the program's, and not block. */
static bool put_wait(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    struct timespec limit = {PUT_PATIENCE_MS / 1000, PUT_PATIENCE_MS % 1000 * 1000000};
    return sys_5(SYS_ppoll, &poll, 1, &limit, 0, 0) > 0 && !(poll.revents & (POLLERR | POLLNVAL));
}

void put_flush(struct put *p)
{
    size_t done = 0;
    while (p->fd >= 0 && done < p->used && !p->failed) {
        if (!put_wait(p->fd)) {
            p->failed = true;
            break;
        }
        long n = sys_3(SYS_write, p->fd, p->text + done, p->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (n != -EINTR && n != -EAGAIN)
            p->failed = true;
    }
    if (p->fd >= 0)
        p->used = 0;
}

size_t put_room(struct put *p, size_t n)
{
    if (p->fd >= 0 && p->used + n > sizeof p->text)
        put_flush(p);
    return p->used;
}

void put_char(struct put *p, char c)
{
    if (p->used == sizeof p->text && p->fd >= 0)
        put_flush(p);
    if (p->used < sizeof p->text)
        p->text[p->used++] = c;
}

void put_bytes(struct put *p, const char *bytes, size_t n)
{
    if (n <= sizeof p->text - p->used) {
        memcpy(p->text + p->used, bytes, n);
        p->used += n;
        return;
    }
    for (size_t i = 0; i < n; i++)
        put_char(p, bytes[i]);
}

void put_text(struct put *p, const char *text)
{
    put_bytes(p, text, strlen(text));
}

void put_number(struct put *p, uint64_t value)
{
    char room[DECIMAL_ROOM];
    put_text(p, decimal(value, room));
}

void put_signed(struct put *p, int64_t value)
{
    if (value < 0)
        put_char(p, '-');
    put_number(p, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void put_hex(struct put *p, uint64_t value)
{
    put_text(p, "0x");
    int shift = 60;
    while (shift > 0 && !(value >> shift & 15))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put_char(p, "0123456789abcdef"[value >> shift & 15]);
}

void put_seconds(struct put *p, int64_t ns, int decimals)
{
    if (ns < 0) {
        put_char(p, '-');
        ns = ns == INT64_MIN ? INT64_MAX : -ns;
    }
    put_number(p, (uint64_t)ns / 1000000000);
    put_char(p, '.');
    uint64_t fraction = (uint64_t)ns % 1000000000, unit = 100000000;
    for (int i = 0; i < decimals; i++, unit /= 10)
        put_char(p, (char)('0' + fraction / unit % 10));
}

void put_name(struct put *p, const char *text)
{
    for (; *text; text++)
        put_char(p, *text < ' ' || *text > '~' ? '?' : *text);
}

void put_json(struct put *p, const char *text)
{
    put_char(p, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            put_char(p, '\\');
        put_char(p, *text < ' ' || *text > '~' ? '?' : *text);
    }
    put_char(p, '"');
}

void put_pad(struct put *p, size_t from, size_t column)
{
    do
        put_char(p, ' ');
    while (p->used > from && p->used - from < column);
}
