/* The order of the addresses of a host: RFC 3484 and 6724 as libc follows them without a gai.conf.
 */
#ifndef PRELOAD_ADDRSORT_H
#define PRELOAD_ADDRSORT_H

#include <netdb.h>
#include <stdbool.h>

#include "netaddrs.h"

#pragma GCC visibility push(hidden)

/* Put the list in order; its canonical name moves to the first. `here` are this host's addresses.
 * Returns the list, or NULL without memory, and it is as it was. Never switches. */
struct addrinfo *addrsort(struct addrinfo *list, const struct netaddrs *here);

#pragma GCC visibility pop

#endif
