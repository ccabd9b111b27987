/* getnameinfo: the name by a PTR question, everything else by libc, which with NI_NUMERICHOST asks
 * nobody.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "cancel.h"
#include "dns.h"
#include "hostent.h"
#include "patch.h"

struct name_call {
    const struct sockaddr *sa;
    socklen_t length;
    char *host;
    socklen_t host_size;
    char *service;
    socklen_t service_size;
    int flags;
};

static long name_libc(void *arg)
{
    struct name_call *c = arg;
    return real.getnameinfo(c->sa, c->length, c->host, c->host_size, c->service, c->service_size,
                            c->flags);
}

/* The address in sa, or NULL where no name is asked for, or where libc finds fault with the call.
 */
static const void *name_address(const struct name_call *c)
{
    enum {
        KNOWN = NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM | NI_IDN,
    };
    if (!c->host || !c->host_size || c->flags & NI_NUMERICHOST || c->flags & ~KNOWN || !c->sa ||
        c->length < sizeof(sa_family_t))
        return NULL;
    if (c->sa->sa_family == AF_INET && c->length >= sizeof(struct sockaddr_in))
        return &((const struct sockaddr_in *)c->sa)->sin_addr;
    if (c->sa->sa_family == AF_INET6 && c->length >= offsetof(struct sockaddr_in6, sin6_scope_id))
        return &((const struct sockaddr_in6 *)c->sa)->sin6_addr;
    return NULL;
}

/* The rest of a call whose name was found. */
static int name_found(struct name_call *c, const char *name)
{
    if (strlen(name) >= c->host_size)
        return EAI_OVERFLOW;
    strcpy(c->host, name);
    if (!c->service || !c->service_size)
        return 0;
    c->host = NULL;
    c->host_size = 0;
    c->flags |= NI_NUMERICHOST;
    return (int)name_libc(c);
}

static int name_missing(struct name_call *c, enum dns_result result)
{
    if (result == DNS_AGAIN)
        return EAI_AGAIN;
    if (c->flags & NI_NAMEREQD)
        return EAI_NONAME;
    c->flags |= NI_NUMERICHOST;
    return (int)name_libc(c);
}

int green_getnameinfo(const struct sockaddr *sa, socklen_t length, char *host, socklen_t host_size,
                      char *service, socklen_t service_size, int flags)
{
    PASS_UNLESS_GREEN(getnameinfo, sa, length, host, host_size, service, service_size, flags);
    struct name_call call = {sa, length, host, host_size, service, service_size, flags};
    const void *address = name_address(&call);
    struct dnsconf *conf;
    struct hostent *found = NULL;
    if (!address)
        return (int)name_libc(&call);
    enum dns_way way = dns_way_address(address, sa->sa_family, &conf);
    if (flags & NI_IDN && way != DNS_HERE) {
        dnsconf_release(conf);
        return (int)dns_libc(DNS_APART, name_libc, &call); /* the thread's locale counts */
    }
    if (way == DNS_ASK && flags & NI_NOFQDN) {
        dnsconf_release(conf);
        way = DNS_HELPER; /* libc asks for its own name too */
    }
    if (way != DNS_ASK)
        return (int)dns_libc(way, name_libc, &call);
    enum dns_result result = hostent_by_address(conf, address, sa->sa_family, &found);
    dnsconf_release(conf);
    if (result == DNS_CANCELLED)
        cancel_act();
    if (result == DNS_UNSURE)
        return (int)dns_libc(DNS_HELPER, name_libc, &call);
    dns_counted();
    int error =
        result == DNS_FOUND ? name_found(&call, found->h_name) : name_missing(&call, result);
    resolver_free(found);
    return error;
}
