/* Which way a name is resolved, and the ways that end in libc. */
#ifndef PRELOAD_DNS_H
#define PRELOAD_DNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dnsconf.h"

#pragma GCC visibility push(hidden)

enum dns_way {
    DNS_HERE,   /* libc, in place: it asks nobody, or the program is to block */
    DNS_HELPER, /* libc, on a helper thread */
    DNS_APART,  /* libc, on the calling thread with the hub handed off: what it does depends on the
                   thread (its network namespace, its _res) */
    DNS_ASK,    /* c-ares, on the hub */
    DNS_WAYS
};

/* How many went each way. DNS_APART counts as DNS_HELPER. */
extern _Atomic uint64_t dns_counts[DNS_WAYS];

/* The way of a name, in whatever form, for AF_UNSPEC, AF_INET or AF_INET6. *conf is set for
 * DNS_ASK, to be released; else NULL. */
enum dns_way dns_way_name(const char *name, int family, struct dnsconf **conf);

/* The same for the name of an address of 4 or 16 bytes. */
enum dns_way dns_way_address(const void *address, int family, struct dnsconf **conf);

/* The way of other questions to libc's resolver; not DNS_ASK. `own`: with the thread's _res. */
enum dns_way dns_way_thread(bool own);

/* Where libc does not ask for the name: an address, for any of its functions. */
bool dns_name_numeric(const char *name);

/* A name that means the same to libc and to c-ares, and that no rule of libc's refuses. */
bool dns_name_plain(const char *name);

/* Call a function of libc the given way, which is not DNS_ASK, and count it; errno and h_errno are
 * as it left them. fn must use nothing else of the calling thread. May switch. */
long dns_libc(enum dns_way way, long (*fn)(void *arg), void *arg);

/* Counts a name that went the way of DNS_ASK to its end. */
static inline void dns_counted(void)
{
    atomic_fetch_add_explicit(&dns_counts[DNS_ASK], 1, memory_order_relaxed);
}

/* In a forked child. */
void dns_fork(void);

#pragma GCC visibility pop

#endif
