/* Questions to servers as libc's resolver asks them: how often, for which names, with what in the
 * end. */
#ifndef PRELOAD_DNSQUERY_H
#define PRELOAD_DNSQUERY_H

#include "dnsconf.h"

#pragma GCC visibility push(hidden)

enum dns_result {
    DNS_FOUND,
    DNS_NO_DATA,   /* the name exists, but nothing of what was asked for */
    DNS_NOT_FOUND, /* it does not */
    DNS_AGAIN,     /* no server says */
    DNS_UNSURE,    /* libc is to be asked */
    DNS_CANCELLED, /* the calling thread was, and shall act on it */
};

/* Search for records of n types (hub/resolver.h) of a plain name, as res_search() does. With
 * DNS_FOUND hosts[i] is what there is of types[i], or NULL; they are the caller's, to be freed by
 * resolver_free(). Sets h_errno unless found. May switch. */
enum dns_result dns_search(const struct dnsconf *conf, const char *name, const int *types,
                           unsigned n, struct hostent **hosts);

/* Ask for just this name, as res_query() does. */
enum dns_result dns_query(const struct dnsconf *conf, const char *name, int type,
                          struct hostent **host);

/* Read as an error of getaddrinfo() and getnameinfo(). */
int dns_gai_error(enum dns_result result);

#pragma GCC visibility pop

#endif
