/* getaddrinfo: the addresses from c-ares where the answer is the same as libc's, all else from
 * libc.
 *
 * Services, socket types and the errors that they make come from libc too, which is asked for a
 * literal address; its nodes are the pattern for those of each address found. Nodes are laid out as
 * libc does it, one block each with the address behind, because libc's freeaddrinfo() frees them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "addrsort.h"
#include "cancel.h"
#include "dns.h"
#include "dnsquery.h"
#include "netaddrs.h"
#include "patch.h"

/* ---- libc's own ---- */

struct gai_call {
    const char *name;
    const char *service;
    const struct addrinfo *hints;
    struct addrinfo **result;
};

static long gai_libc(void *arg)
{
    struct gai_call *call = arg;
    return real.getaddrinfo(call->name, call->service, call->hints, call->result);
}

static int gai_go(enum dns_way way, struct gai_call *call)
{
    return (int)dns_libc(way, gai_libc, call);
}

/* ---- What is asked ---- */

static const struct addrinfo hints_default = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};

/* Does libc answer without asking anybody, if only with an error? */
static bool gai_immediate(const char *name, const struct addrinfo *hints)
{
    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST}, *found;
    if (!name || !strcmp(name, "*") || hints->ai_flags & AI_NUMERICHOST)
        return true;
    if (hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET &&
        hints->ai_family != AF_INET6)
        return true;
    if (real.getaddrinfo(name, NULL, &numeric, &found))
        return false;
    real.freeaddrinfo(found);
    return true;
}

/* The family that is left under AI_ADDRCONFIG; AF_MAX: none. */
static int gai_family(const struct addrinfo *hints, const struct netaddrs *here)
{
    int family = hints->ai_family;
    if (!(hints->ai_flags & AI_ADDRCONFIG))
        return family;
    if (family == AF_UNSPEC)
        return here->four == here->six ? AF_UNSPEC : here->four ? AF_INET : AF_INET6;
    return (family == AF_INET ? here->four : here->six) ? family : AF_MAX;
}

/* ---- The list ---- */

/* The sockets that the service and the hints allow, each with its port. */
static int gai_pattern(const char *service, const struct addrinfo *hints, struct addrinfo **pattern)
{
    struct addrinfo plain = {
        .ai_flags = AI_NUMERICHOST | (hints->ai_flags & AI_NUMERICSERV),
        .ai_family = AF_INET,
        .ai_socktype = hints->ai_socktype,
        .ai_protocol = hints->ai_protocol,
    };
    return real.getaddrinfo("0.0.0.0", service, &plain, pattern);
}

static struct addrinfo *gai_node(const struct addrinfo *pattern, int flags, int family,
                                 const void *address)
{
    bool six = family == AF_INET6;
    socklen_t length = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    struct addrinfo *node = malloc(sizeof *node + length);
    if (!node)
        return NULL;
    *node = (struct addrinfo){.ai_flags = flags,
                              .ai_family = family,
                              .ai_socktype = pattern->ai_socktype,
                              .ai_protocol = pattern->ai_protocol,
                              .ai_addrlen = length,
                              .ai_addr = (struct sockaddr *)(node + 1)};
    struct sockaddr_in *four = (struct sockaddr_in *)node->ai_addr;
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)node->ai_addr;
    in_port_t port = ((struct sockaddr_in *)pattern->ai_addr)->sin_port;
    if (six) {
        *to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
        memcpy(&to->sin6_addr, address, sizeof to->sin6_addr);
    } else {
        *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
        memcpy(&four->sin_addr, address, sizeof four->sin_addr);
    }
    return node;
}

/* Append a host's addresses, each with every socket; false without memory. */
static bool gai_append(struct addrinfo ***end, unsigned *addresses, const struct hostent *host,
                       const struct addrinfo *pattern, int flags)
{
    for (char **address = host->h_addr_list; *address; address++, ++*addresses)
        for (const struct addrinfo *p = pattern; p; p = p->ai_next) {
            **end = gai_node(p, flags, host->h_addrtype, *address);
            if (!**end)
                return false;
            *end = &(**end)->ai_next;
        }
    return true;
}

/* What was found, in the order of arrival in a list, then sorted. */
static int gai_build(struct hostent *const *hosts, unsigned n, const struct addrinfo *pattern,
                     int flags, struct netaddrs *here, struct addrinfo **result)
{
    struct addrinfo *list = NULL, **end = &list;
    unsigned addresses = 0;
    const char *canonical = NULL;
    bool whole = true;
    for (unsigned i = 0; i < n && whole; i++) {
        if (hosts[i] && !canonical)
            canonical = hosts[i]->h_name;
        if (hosts[i])
            whole = gai_append(&end, &addresses, hosts[i], pattern, flags);
    }
    if (whole && list && flags & AI_CANONNAME)
        whole = (list->ai_canonname = strdup(canonical)) != NULL;
    if (whole && addresses > 1) {
        if (!here->four && !here->six)
            *here = netaddrs_read();
        struct addrinfo *sorted = addrsort(list, here);
        whole = sorted != NULL;
        list = sorted ? sorted : list;
    }
    if (whole && list) {
        *result = list;
        return 0;
    }
    real.freeaddrinfo(list);
    return whole ? EAI_NONAME : EAI_MEMORY;
}

/* ---- c-ares ---- */

/* *error is the answer unless the result is DNS_UNSURE. */
static enum dns_result gai_ask(const struct gai_call *call, int family, const struct dnsconf *conf,
                               const struct addrinfo *pattern, struct netaddrs *here, int *error)
{
    static const int both[] = {RESOLVER_A, RESOLVER_AAAA};
    const int *types = family == AF_INET6 ? both + 1 : both;
    unsigned n = family == AF_UNSPEC ? 2 : 1;
    struct hostent *hosts[RESOLVER_TYPES_MAX] = {NULL};
    enum dns_result found = dns_search(conf, call->name, types, n, hosts);
    if (found == DNS_FOUND)
        *error = gai_build(hosts, n, pattern, call->hints->ai_flags, here, call->result);
    else
        *error = dns_gai_error(found);
    for (unsigned i = 0; i < n; i++)
        resolver_free(hosts[i]);
    return found;
}

/* Where the answer depends on more than servers and files: conversions of names, in which the
 * thread's locale has a part, and IPv4 addresses as IPv6 ones. */
static enum dns_way gai_way(const struct gai_call *call, int family, struct dnsconf **conf)
{
    enum {
        KNOWN = AI_PASSIVE | AI_CANONNAME | AI_ADDRCONFIG | AI_V4MAPPED | AI_ALL | AI_NUMERICSERV,
    };
    int flags = call->hints->ai_flags;
    enum dns_way way = dns_way_name(call->name, family, conf);
    if (way == DNS_HERE)
        return way;
    enum dns_way instead = way;
    if (flags & AI_IDN && dns_name_plain(call->name))
        flags &= ~AI_IDN;
    if (flags & ~KNOWN)
        instead = DNS_APART;
    else if (way == DNS_ASK && family == AF_INET6 && flags & AI_V4MAPPED)
        instead = DNS_HELPER;
    if (instead != way) {
        dnsconf_release(*conf);
        *conf = NULL;
    }
    return instead;
}

/* The call for a name that is to be looked up; `here` and the pattern are the caller's to free. */
static int gai_name(struct gai_call *call, struct netaddrs *here, struct addrinfo **pattern,
                    bool *cancelled)
{
    struct dnsconf *conf;
    int family = gai_family(call->hints, here);
    if (family == AF_MAX)
        return EAI_NONAME;
    enum dns_way way = gai_way(call, family, &conf);
    if (way != DNS_ASK)
        return gai_go(way, call);
    int error = gai_pattern(call->service, call->hints, pattern);
    bool known = error != 0;
    if (!known) {
        enum dns_result result = gai_ask(call, family, conf, *pattern, here, &error);
        known = result != DNS_UNSURE;
        *cancelled = result == DNS_CANCELLED;
        if (known)
            dns_counted();
    }
    dnsconf_release(conf);
    return known ? error : gai_go(DNS_HELPER, call);
}

int green_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                      struct addrinfo **result)
{
    PASS_UNLESS_GREEN(getaddrinfo, name, service, hints, result);
    struct gai_call call = {name, service, hints ? hints : &hints_default, result};
    if (gai_immediate(name, call.hints))
        return real.getaddrinfo(name, service, hints, result);
    struct netaddrs here = {.count = 0};
    struct addrinfo *pattern = NULL;
    bool cancelled = false;
    if (call.hints->ai_flags & AI_ADDRCONFIG)
        here = netaddrs_read();
    int error = gai_name(&call, &here, &pattern, &cancelled);
    real.freeaddrinfo(pattern);
    netaddrs_free(&here);
    if (cancelled)
        cancel_act();
    return error;
}
