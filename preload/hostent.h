/* Names of addresses, for gethostbyaddr() and getnameinfo(). */
#ifndef PRELOAD_HOSTENT_H
#define PRELOAD_HOSTENT_H

#include "dnsquery.h"

#pragma GCC visibility push(hidden)

/* Ask for the PTR records of an address of 4 or 16 bytes. As dns_query(). May switch. */
enum dns_result hostent_by_address(const struct dnsconf *conf, const void *address, int family,
                                   struct hostent **host);

#pragma GCC visibility pop

#endif
