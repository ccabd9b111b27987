/* The addresses of this host, as the choice among another's addresses needs them. */
#ifndef PRELOAD_NETADDRS_H
#define PRELOAD_NETADDRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum { NETADDR_DEPRECATED = 1, NETADDR_HOME = 2 };

struct netaddr {
    uint8_t address[16]; /* an IPv4 address in its mapped form */
    uint8_t prefix;      /* bits; of an IPv4 address among its 32 */
    uint8_t flags;       /* NETADDR_ bits */
    uint32_t interface;
};

struct netaddrs {
    bool four, six; /* there is one that is not the loopback; both where that is not known */
    size_t count;
    struct netaddr *list; /* green_alloc() */
};

/* As of now, from the kernel. Never switches; keeps errno. */
struct netaddrs netaddrs_read(void);
void netaddrs_free(struct netaddrs *n);

/* NULL when no interface has it. */
const struct netaddr *netaddrs_find(const struct netaddrs *n, const uint8_t *address);

/* Is the interface something else than a tunnel? False where it is not known. */
bool netaddrs_native(uint32_t interface);

#pragma GCC visibility pop

#endif
