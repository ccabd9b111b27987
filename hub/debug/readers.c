/* eventlet calls this an error; to a program with threads it may be meant, so it is a warning. */
#include "hub/debug/readers.h"

#include <stdint.h>

#include "coro/lock.h"
#include "hub/debug/put.h"
#include "hub/hub.h"
#include "hub/look.h"

enum { DESCRIPTORS = 1 << 16 };

static struct lock readers_lock;
static uint64_t readers_said[DESCRIPTORS / 64]; /* readers_lock */

static void readers_thread(struct put *p, const struct green *g)
{
    put_number(p, g->id);
    put_text(p, " (");
    put_name(p, g->name);
    put_text(p, ")");
}

static void readers_shared(int fd, int events, struct green *g, struct green *other)
{
    static struct put p; /* readers_lock */
    unsigned at = (unsigned)fd % DESCRIPTORS;
    lock_acquire(&readers_lock);
    if (!(readers_said[at / 64] >> at % 64 & 1)) {
        readers_said[at / 64] |= UINT64_C(1) << at % 64;
        put_start(&p, 2);
        put_text(&p, "libgreen: warning: green threads ");
        readers_thread(&p, other);
        put_text(&p, " and ");
        readers_thread(&p, g);
        put_text(&p, events & IO_READ ? " both wait to read from descriptor "
                                      : " both wait to write to descriptor ");
        put_number(&p, (uint64_t)fd);
        put_char(&p, '\n');
        put_flush(&p);
    }
    lock_release(&readers_lock);
}

void readers_start(void)
{
    io_shared_watch = readers_shared;
}
