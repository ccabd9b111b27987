/* Questions to DNS servers, asked by c-ares on the hub while the green thread is parked. What is
 * asked, of whom and how often is the caller's business (preload/dnsquery.c).
 */
#ifndef HUB_RESOLVER_H
#define HUB_RESOLVER_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { RESOLVER_SERVERS_MAX = 3, RESOLVER_TYPES_MAX = 2, RESOLVER_NAME_MAX = 254 };

/* Types of records, by their numbers on the wire. RESOLVER_NONE with one of them: only whether
 * there is truly nothing, RESOLVER_NO_DATA, or an answer of aliases alone, RESOLVER_UNSURE. */
enum { RESOLVER_A = 1, RESOLVER_PTR = 12, RESOLVER_AAAA = 28, RESOLVER_NONE = 0x10000 };

/* Whom to ask. */
struct resolver_servers {
    uint64_t generation; /* two with the same number are the same */
    unsigned count;
    struct sockaddr_in6 address[RESOLVER_SERVERS_MAX]; /* or a struct sockaddr_in in its place */
    int timeout;                                       /* ms until the next server is asked */
    bool rotate;                                       /* begin with another one each time */
    bool extended;                                     /* EDNS0 */
    bool stream;                                       /* TCP from the start */
};

enum resolver_status {
    RESOLVER_FOUND,
    RESOLVER_NO_DATA,       /* the name exists, but not with that type */
    RESOLVER_NOT_FOUND,     /* no such name */
    RESOLVER_SERVER_FAILED, /* every server says SERVFAIL */
    RESOLVER_TIMED_OUT,
    RESOLVER_UNREACHABLE, /* nobody listens there */
    RESOLVER_UNSURE, /* anything else: other refusals, an answer that makes no sense, no memory */
};

struct resolver_reply {
    enum resolver_status status;
    struct hostent *host; /* with RESOLVER_FOUND; for a PTR all names are aliases; else NULL */
};

/* Ask every server in turn, once, for records of n types (at most RESOLVER_TYPES_MAX) of one name,
 * all types at the same time; the first server that knows something answers. replies[i] is for
 * types[i]; what is in them is the caller's to free, also after a cancellation (then there is
 * nothing). Returns false when the calling thread was cancelled, whose questions are dropped.
 * On an attached green thread only. May switch. Handlers of signals run inside. */
bool resolver_ask(const struct resolver_servers *servers, const char *name, const int *types,
                  unsigned n, struct resolver_reply *replies);

/* Gives back what a reply holds; NULL is nothing. Any thread; never switches. */
void resolver_free(struct hostent *host);

#endif
