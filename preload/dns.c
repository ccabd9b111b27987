/* c-ares answers ordinary names under an ordinary configuration. Everything else is libc's: at once
 * where it asks nobody, on a helper thread where it may block.
 */
#include "dns.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>

#include "blocking.h"
#include "config.h"
#include "patch.h"
#include "hub/hub.h"

enum { LABEL_MAX = 63, NAME_MAX_PLAIN = 253 };

_Atomic uint64_t dns_counts[DNS_WAYS];

/* ---- Names ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_plain(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

bool dns_name_numeric(const char *name)
{
    struct in6_addr six;
    size_t length = strspn(name, "0123456789.");
    if (length && !name[length] && name[length - 1] != '.')
        return inet_aton(name, &(struct in_addr){0}) != 0;
    return inet_pton(AF_INET6, name, &six) == 1;
}

static bool ends_in(const char *name, size_t length, const char *domain)
{
    size_t n = strlen(domain);
    return length >= n && !strncasecmp(name + length - n, domain, n) &&
           (length == n || name[length - n - 1] == '.');
}

/* Names with a meaning to c-ares (RFC 6761, 7686), which does not ask for them; libc does. */
static bool is_reserved(const char *name, size_t length)
{
    length -= name[length - 1] == '.';
    return ends_in(name, length, "onion") || ends_in(name, length, "localhost");
}

bool dns_name_plain(const char *name)
{
    size_t length = 0, label = 0;
    bool digits = true;
    if (!is_plain(name[0]) || name[0] == '-')
        return false;
    for (; name[length]; length++) {
        char c = name[length];
        bool dot = c == '.';
        if ((!dot && !is_plain(c)) || (dot && !label) || length >= NAME_MAX_PLAIN)
            return false;
        digits &= dot || is_digit(c);
        label = dot ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return !digits && !is_reserved(name, length);
}

/* ---- Ways ---- */

/* A bound thread may live in another network namespace, or under another file system's root. */
static bool bound(void)
{
    struct green *g = self_green();
    return g && g->bound;
}

/* What does not depend on what is asked: DNS_ASK and *conf, or another way. */
static enum dns_way way_of_configuration(struct dnsconf **conf)
{
    *conf = NULL;
    if (config.dns == GREEN_DNS_NATIVE)
        return DNS_HERE;
    if (bound())
        return DNS_APART;
    struct dnsconf *now = dnsconf_get();
    if (!now)
        return DNS_HELPER;
    enum dns_way way = DNS_ASK;
    if (dnsconf_differs(now))
        way = DNS_APART;
    else if (config.dns == GREEN_DNS_OFFLOAD || now->plan == DNSCONF_LIBC)
        way = DNS_HELPER;
    else if (now->plan == DNSCONF_ONLY_FILES)
        way = DNS_HERE;
    if (way == DNS_ASK)
        *conf = now;
    else
        dnsconf_release(now);
    return way;
}

/* It is another way after all. */
static enum dns_way way_instead(enum dns_way way, struct dnsconf **conf)
{
    if (way != DNS_ASK) {
        dnsconf_release(*conf);
        *conf = NULL;
    }
    return way;
}

enum dns_way dns_way_name(const char *name, int family, struct dnsconf **conf)
{
    static const enum dns_way by_hosts[] = {
        [HOSTS_NO] = DNS_ASK, [HOSTS_YES] = DNS_HERE, [HOSTS_OTHER] = DNS_HELPER};
    enum dns_way way = way_of_configuration(conf);
    if (way != DNS_ASK)
        return way;
    way = dns_name_plain(name) ? DNS_ASK : DNS_HELPER;
    enum hosts_answer there = hosts_name((*conf)->hosts, name, family);
    if (there != HOSTS_NO)
        way = by_hosts[there];
    return way_instead(way, conf);
}

enum dns_way dns_way_address(const void *address, int family, struct dnsconf **conf)
{
    static const uint8_t zeros[12];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    enum dns_way way = way_of_configuration(conf);
    if (way != DNS_ASK)
        return way;
    if (hosts_address((*conf)->hosts, address, family))
        way = DNS_HERE;
    else if (family == AF_INET6 && (!memcmp(address, zeros, 12) || !memcmp(address, mapped, 12)))
        way = DNS_HELPER; /* libc asks for the IPv4 address in it, or not at all */
    return way_instead(way, conf);
}

enum dns_way dns_way_thread(bool own)
{
    if (config.dns == GREEN_DNS_NATIVE)
        return DNS_HERE;
    if (bound())
        return DNS_APART;
    struct dnsconf *now = own ? dnsconf_get() : NULL;
    enum dns_way way = now && dnsconf_differs(now) ? DNS_APART : DNS_HELPER;
    dnsconf_release(now);
    return way;
}

/* ---- libc ---- */

/* h_errno is the thread's, and the helper is another thread. */
struct call {
    long (*fn)(void *);
    void *arg;
    int h_errno_after;
};

static long call_made(void *arg)
{
    struct call *call = arg;
    long result = call->fn(call->arg);
    call->h_errno_after = h_errno;
    return result;
}

long dns_libc(enum dns_way way, long (*fn)(void *arg), void *arg)
{
    struct call call = {.fn = fn, .arg = arg};
    atomic_fetch_add_explicit(&dns_counts[way == DNS_APART ? DNS_HELPER : way], 1,
                              memory_order_relaxed);
    if (way == DNS_HERE)
        return fn(arg);
    long result;
    if (way != DNS_APART)
        result = offload(call_made, &call, 0);
    else if (hub_strict())
        result = call_made(&call); /* a helper's answer might be another one: the others wait */
    else
        result = blocking_call(call_made, &call);
    h_errno = call.h_errno_after;
    return result;
}

void dns_fork(void)
{
    dnsconf_fork();
    for (unsigned i = 0; i < DNS_WAYS; i++)
        atomic_store_explicit(&dns_counts[i], 0, memory_order_relaxed);
}
