/* How libc would resolve names now: /etc/resolv.conf, nsswitch.conf, hosts, gai.conf, host.conf and
 * the environment, as of this moment. */
#ifndef PRELOAD_DNSCONF_H
#define PRELOAD_DNSCONF_H

#include <stdbool.h>

#include "dnsfile.h"
#include "hosts.h"
#include "hub/resolver.h"

#pragma GCC visibility push(hidden)

enum { DNSCONF_FILES = 6, DNSCONF_DOMAINS = 5 };

enum dnsconf_plan {
    DNSCONF_LIBC,      /* something here that only libc knows how to do */
    DNSCONF_FILES_DNS, /* hosts, then servers */
    DNSCONF_ONLY_DNS,
    DNSCONF_ONLY_FILES,
};

/* Immutable once made; lives as long as it is current or held by somebody. */
struct dnsconf {
    int references;
    struct dns_file_state states[DNSCONF_FILES]; /* what it was made from */
    bool overridden;
    enum dnsconf_plan plan;
    struct hosts *hosts; /* with DNSCONF_FILES_DNS */
    struct resolver_servers servers;
    int attempts;          /* times that all servers are asked */
    unsigned dots;         /* a name with so many is asked for as it is before it is searched for */
    bool search;           /* in all domains; else a name without a dot in the first one only */
    bool defaults;         /* names without a dot are searched for */
    bool as_is;            /* a name without a dot may be asked for as it is */
    bool in_turn;          /* one type of record after the other */
    unsigned long options; /* RES_ bits */
    unsigned domain_count;
    char domains[DNSCONF_DOMAINS][256];
};

/* The configuration as of now, for dnsconf_release(); NULL without memory. Looks at the files, and
 * reads those again that changed. Never switches. */
struct dnsconf *dnsconf_get(void);
void dnsconf_release(struct dnsconf *conf);

/* Has the calling thread set up libc's resolver (_res) in another way than the files say? */
bool dnsconf_differs(const struct dnsconf *conf);

/* The program has configured the lookup of hosts by itself: what the files say no longer holds. */
void dnsconf_override(void);

/* In a forked child: no other thread holds anything. */
void dnsconf_fork(void);

#pragma GCC visibility pop

#endif
