/* Where libev's and c-ares' calls to libc end up.
 *
 * Both come as Debian's static archives; at build time objcopy renames what they call to evglue_*
 * (hub/evglue.syms, hub/aresglue.syms lists the pairs). None of their calls may reach a symbol that
 * libgreen exports, the program's malloc, its environment or its stdio.
 */
#ifndef HUB_EVGLUE_H
#define HUB_EVGLUE_H

#include <sys/epoll.h>

/* What libev waits in. The hub's loop decides there how long, and with what precision, to wait; the
 * result is epoll_wait(2)'s. TIMEOUT_MS is libev's opinion. On the hub's stack, hub not asleep. */
int evglue_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);

enum evglue_kind {
    EVGLUE_EPOLL, /* a loop's epoll set */
    EVGLUE_WAKE,  /* the eventfd of ev_async */
};

/* libev wants a descriptor; returns its number, or -1 with errno. The hub's loop notes what it is. */
int evglue_open(enum evglue_kind kind);

/* libev has closed a descriptor that evglue_open() returned. */
void evglue_closed(int fd);

#endif
