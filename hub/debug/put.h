/* Text in the making, without stdio or memory of anybody's: for who reports on a program that may be
 * in any state. Uses no thread-local storage, nothing of libc but memcpy; async-signal-safe.
 */
#ifndef DEBUG_PUT_H
#define DEBUG_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PUT_ROOM = 8192 };

/* Owned by who writes. Text is kept until there is a roomful, and then written to `fd`; with fd -1
 * it is kept in `text`, and cut at the end. */
struct put {
    int fd;
    bool failed; /* the descriptor took no more; what follows is dropped */
    size_t used;
    char text[PUT_ROOM];
};

void put_start(struct put *p, int fd);

/* Write what is kept. A descriptor that does not take a byte for PUT_PATIENCE_MS has failed. */
enum { PUT_PATIENCE_MS = 5000 };
void put_flush(struct put *p);

void put_char(struct put *p, char c);
void put_text(struct put *p, const char *text);
void put_bytes(struct put *p, const char *bytes, size_t n);
void put_number(struct put *p, uint64_t value);
void put_signed(struct put *p, int64_t value);
void put_hex(struct put *p, uint64_t value);              /* 0x1f */
void put_seconds(struct put *p, int64_t ns, int decimals); /* 1.250; decimals up to 9 */
void put_name(struct put *p, const char *text);           /* anything not printable as '?' */
void put_json(struct put *p, const char *text);           /* quoted */

/* Spaces until `column` characters have been put since `from`, a former value of `used` (with room
 * reserved by put_room()). */
void put_pad(struct put *p, size_t from, size_t column);

/* Make sure that `n` bytes fit without a write in between; returns `used`. */
size_t put_room(struct put *p, size_t n);

#endif
