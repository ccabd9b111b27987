/* After res_search(3), resolv.conf(5), and what libc's resolver does where they are silent. */
#include "dnsquery.h"

#include <string.h>

#include "dns.h"

/* ---- One name ---- */

static bool status_final(enum resolver_status status)
{
    return status == RESOLVER_FOUND || status == RESOLVER_NO_DATA || status == RESOLVER_NOT_FOUND;
}

/* Is there nothing left to ask? A server that fails for one type is not asked again when there is
 * an answer for the other. */
static bool replies_final(const struct resolver_reply *replies, unsigned n)
{
    bool found = false, final = true;
    for (unsigned i = 0; i < n; i++)
        found |= replies[i].status == RESOLVER_FOUND;
    for (unsigned i = 0; i < n; i++)
        final &= status_final(replies[i].status) || replies[i].status == RESOLVER_UNSURE ||
                 (found && replies[i].status != RESOLVER_TIMED_OUT);
    return final;
}

/* Names that libc would refuse or write in another way. */
static bool host_plain(const struct hostent *host)
{
    bool plain = dns_name_plain(host->h_name);
    for (char **alias = host->h_aliases; alias && *alias; alias++)
        plain &= dns_name_plain(*alias);
    return plain;
}

/* What n answers come to. One that found something decides, then one that knows that there is
 * nothing, where the others are silent; an answer beside a failure is for libc to weigh. */
static enum dns_result verdict(const struct resolver_reply *replies, unsigned n)
{
    unsigned seen[RESOLVER_UNSURE + 1] = {0};
    for (unsigned i = 0; i < n; i++)
        seen[replies[i].status]++;
    unsigned silent = seen[RESOLVER_TIMED_OUT];
    if (seen[RESOLVER_UNSURE])
        return DNS_UNSURE;
    if (seen[RESOLVER_FOUND])
        return DNS_FOUND;
    if (seen[RESOLVER_NOT_FOUND] + seen[RESOLVER_NO_DATA] + silent == n && silent < n)
        return seen[RESOLVER_NOT_FOUND] ? DNS_NOT_FOUND : DNS_NO_DATA;
    if (silent + seen[RESOLVER_SERVER_FAILED] + seen[RESOLVER_UNREACHABLE] == n)
        return DNS_AGAIN;
    return DNS_UNSURE;
}

/* Ask again for what has no final answer yet; false when cancelled. */
static bool ask_missing(const struct dnsconf *conf, const char *name, const int *types, unsigned n,
                        struct resolver_reply *replies)
{
    struct resolver_reply got[RESOLVER_TYPES_MAX];
    int wanted[RESOLVER_TYPES_MAX];
    unsigned at[RESOLVER_TYPES_MAX], count = 0;
    for (unsigned i = 0; i < n; i++)
        if (!status_final(replies[i].status)) {
            wanted[count] = types[i];
            at[count++] = i;
        }
    unsigned together = conf->in_turn ? 1 : count;
    for (unsigned i = 0; i < count; i += together) {
        if (!resolver_ask(&conf->servers, name, wanted + i, together, got))
            return false;
        for (unsigned k = 0; k < together; k++)
            replies[at[i + k]] = got[k];
    }
    return true;
}

/* To libc an answer of aliases that lead to nothing is another one than an empty answer; c-ares
 * says the same of both. */
static enum dns_result confirm_no_data(const struct dnsconf *conf, const char *name,
                                       const int *types, unsigned n)
{
    struct resolver_reply replies[RESOLVER_TYPES_MAX];
    int proofs[RESOLVER_TYPES_MAX];
    for (unsigned i = 0; i < n; i++)
        proofs[i] = types[i] | RESOLVER_NONE;
    if (!resolver_ask(&conf->servers, name, proofs, n, replies))
        return DNS_CANCELLED;
    for (unsigned i = 0; i < n; i++)
        if (replies[i].status != RESOLVER_NO_DATA)
            return DNS_UNSURE;
    return DNS_NO_DATA;
}

static void hosts_free_all(struct hostent **hosts, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        resolver_free(hosts[i]);
        hosts[i] = NULL;
    }
}

/* *failed (may be NULL): every server said SERVFAIL. */
static enum dns_result query(const struct dnsconf *conf, const char *name, const int *types,
                             unsigned n, struct hostent **hosts, bool *failed)
{
    struct resolver_reply replies[RESOLVER_TYPES_MAX];
    for (unsigned i = 0; i < n; i++)
        replies[i] = (struct resolver_reply){RESOLVER_TIMED_OUT, NULL};
    bool whole = true;
    for (int i = 0; whole && i < conf->attempts && !replies_final(replies, n); i++)
        whole = ask_missing(conf, name, types, n, replies);
    enum dns_result result = whole ? verdict(replies, n) : DNS_CANCELLED;
    if (result == DNS_NO_DATA && types[0] != RESOLVER_PTR)
        result = confirm_no_data(conf, name, types, n);
    for (unsigned i = 0; i < n; i++) {
        hosts[i] = replies[i].host;
        if (hosts[i] && result == DNS_FOUND && !host_plain(hosts[i]))
            result = DNS_UNSURE;
    }
    if (result != DNS_FOUND)
        hosts_free_all(hosts, n);
    if (failed)
        *failed = result == DNS_AGAIN && replies[0].status == RESOLVER_SERVER_FAILED &&
                  replies[n - 1].status == RESOLVER_SERVER_FAILED;
    return result;
}

static void set_h_errno(enum dns_result result)
{
    if (result == DNS_NO_DATA)
        h_errno = NO_DATA;
    else if (result == DNS_NOT_FOUND)
        h_errno = HOST_NOT_FOUND;
    else if (result == DNS_AGAIN)
        h_errno = TRY_AGAIN;
}

enum dns_result dns_query(const struct dnsconf *conf, const char *name, int type,
                          struct hostent **host)
{
    enum dns_result result = query(conf, name, &type, 1, host, NULL);
    set_h_errno(result);
    return result;
}

/* ---- The search ---- */

/* What has become of a search so far. */
struct search {
    const struct dnsconf *conf;
    const char *name;
    const int *types;
    unsigned n;
    struct hostent **hosts;
    bool as_is_done; /* the name was asked for as it is */
    enum dns_result as_is;
    bool no_data, failed; /* in some domain */
    enum dns_result last;
};

/* Ask for the name below `domain` (NULL: as it is); true when that ends the search with s->last. */
static bool search_step(struct search *s, const char *domain)
{
    char whole[RESOLVER_NAME_MAX + 1];
    size_t length = strlen(s->name), more = domain ? strlen(domain) : 0;
    bool failed = false;
    if (length + 1 + more > RESOLVER_NAME_MAX) {
        s->last = DNS_UNSURE;
        return true;
    }
    memcpy(whole, s->name, length + 1);
    if (more) {
        whole[length] = '.';
        memcpy(whole + length + 1, domain, more + 1);
    } else if (whole[length - 1] == '.') {
        whole[length - 1] = 0;
    }
    if (!dns_name_plain(whole)) {
        s->last = DNS_UNSURE;
        return true;
    }
    s->last = query(s->conf, whole, s->types, s->n, s->hosts, &failed);
    s->no_data |= domain && s->last == DNS_NO_DATA;
    s->failed |= domain && failed;
    switch (s->last) {
    case DNS_NO_DATA:
    case DNS_NOT_FOUND:
        return false;
    case DNS_AGAIN:
        return domain && !failed; /* nobody answers: nor would they for other names */
    default:
        return true;
    }
}

/* In the domains of the list; true when the search is over. *root: the list has the root. */
static bool search_domains(struct search *s, bool *root)
{
    for (unsigned i = 0; i < s->conf->domain_count; i++) {
        const char *domain = s->conf->domains[i];
        domain += domain[0] == '.';
        *root |= !domain[0];
        if (search_step(s, domain))
            return true;
        if (!s->conf->search)
            break;
    }
    return false;
}

static enum dns_result search(struct search *s)
{
    const struct dnsconf *conf = s->conf;
    unsigned dots = 0;
    for (const char *c = s->name; *c; c++)
        dots += *c == '.';
    bool ends_in_dot = s->name[strlen(s->name) - 1] == '.';
    bool root = false;
    if (dots >= conf->dots || ends_in_dot) {
        if (search_step(s, NULL) || ends_in_dot)
            return s->last;
        s->as_is_done = true;
        s->as_is = s->last;
    }
    if (dots ? conf->search : conf->defaults) {
        bool over = search_domains(s, &root);
        if (over && s->last != DNS_AGAIN)
            return s->last;
    }
    if ((dots || conf->as_is) && !s->as_is_done && !root && search_step(s, NULL))
        return s->last;
    if (s->as_is_done)
        return s->as_is;
    return s->no_data ? DNS_NO_DATA : s->failed ? DNS_AGAIN : s->last;
}

enum dns_result dns_search(const struct dnsconf *conf, const char *name, const int *types,
                           unsigned n, struct hostent **hosts)
{
    struct search s = {.conf = conf, .name = name, .types = types, .n = n, .hosts = hosts};
    s.last = DNS_NOT_FOUND;
    enum dns_result result = search(&s);
    set_h_errno(result);
    return result;
}

int dns_gai_error(enum dns_result result)
{
    switch (result) {
    case DNS_FOUND:
        return 0;
    case DNS_NO_DATA:
        return EAI_NODATA;
    case DNS_AGAIN:
        return EAI_AGAIN;
    default:
        return EAI_NONAME;
    }
}
