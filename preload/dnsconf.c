/* libc reads resolv.conf, LOCALDOMAIN and RES_OPTIONS for us (res_ninit), so they mean what they
 * mean to libc. The other files decide only whether c-ares may answer; whatever looks unusual in
 * one of them means that libc is asked.
 */
#include "dnsconf.h"

#include <errno.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coro/lock.h"
#include "hub/alloc.h"

enum { RESOLV_CONF, NSSWITCH_CONF, HOSTS, GAI_CONF, HOST_CONF, NSCD_SOCKET };

static const char *const paths[DNSCONF_FILES] = {
    "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts",
    "/etc/gai.conf",    "/etc/host.conf",     "/var/run/nscd/socket",
};

/* Options of which c-ares or the code around it knows what they mean. AD in queries (trust-ad)
 * changes no address. */
static const unsigned long options_known =
    RES_INIT | RES_RECURSE | RES_DEFNAMES | RES_DNSRCH | RES_ROTATE | RES_USE_EDNS0 | RES_SNGLKUP |
    RES_SNGLKUPREOP | RES_USEVC | RES_NOTLDQUERY | RES_NORELOAD | RES_TRUSTAD;

/* Variables of libc's that change answers in ways which are not followed here. */
static const char *const variables[] = {
    "HOSTALIASES",    "RESOLV_HOST_CONF",        "RESOLV_MULTI",
    "RESOLV_REORDER", "RESOLV_ADD_TRIM_DOMAINS", "RESOLV_OVERRIDE_TRIM_DOMAINS",
};

static struct lock conf_lock;
static struct dnsconf *conf_current; /* lock; holds a reference */
static uint64_t conf_generations;    /* lock */
static _Atomic bool conf_overridden;

/* ---- nsswitch.conf, gai.conf, host.conf ---- */

static enum dnsconf_plan plan_of_services(char *services)
{
    char *first = dns_file_word(&services);
    char *second = first ? dns_file_word(&services) : NULL;
    if (!first || (second && dns_file_word(&services)))
        return DNSCONF_LIBC;
    bool files = !strcmp(first, "files");
    if (!second)
        return files ? DNSCONF_ONLY_FILES : strcmp(first, "dns") ? DNSCONF_LIBC : DNSCONF_ONLY_DNS;
    return files && !strcmp(second, "dns") ? DNSCONF_FILES_DNS : DNSCONF_LIBC;
}

static enum dnsconf_plan plan_of_nsswitch(void)
{
    char *text = dns_file_read(paths[NSSWITCH_CONF]), *at = text, *line;
    enum dnsconf_plan plan = DNSCONF_FILES_DNS; /* libc's default */
    bool seen = false;
    while (text && (line = dns_file_line(&at))) {
        line += strspn(line, " \t\r\v\f");
        char *colon = strchr(line, ':');
        if (!colon || strncasecmp(line, "hosts", 5))
            continue;
        char *end = line + 5;
        if (end + strspn(end, " \t\r\v\f") != colon)
            continue;
        plan = seen || end != colon ? DNSCONF_LIBC : plan_of_services(colon + 1);
        seen = true;
    }
    green_free(text);
    return plan;
}

/* Does every line begin with one of these words (or none)? */
static bool lines_begin(const char *path, const char *word)
{
    char *text = dns_file_read(path), *at = text, *line;
    bool all = true;
    while (text && (line = dns_file_line(&at))) {
        char *first = dns_file_word(&line);
        if (first && (!word || strcmp(first, word)))
            all = false;
    }
    green_free(text);
    return all;
}

static bool variables_set(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (getenv(variables[i]))
            return true;
    return false;
}

/* ---- resolv.conf ---- */

static bool state_addresses(const struct __res_state *state, struct resolver_servers *into)
{
    into->count = (unsigned)state->nscount;
    if (state->nscount <= 0 || state->nscount > RESOLVER_SERVERS_MAX)
        return false;
    for (unsigned i = 0; i < into->count; i++) {
        struct sockaddr_in6 *six = state->_u._ext.nsaddrs[i];
        memset(&into->address[i], 0, sizeof into->address[i]);
        if (state->nsaddr_list[i].sin_family == AF_INET)
            memcpy(&into->address[i], &state->nsaddr_list[i], sizeof state->nsaddr_list[i]);
        else if (six && six->sin6_family == AF_INET6 && !six->sin6_scope_id)
            into->address[i] = *six;
        else
            return false;
    }
    return true;
}

static bool state_domains(const struct __res_state *state, struct dnsconf *conf)
{
    unsigned n = 0;
    for (; n <= DNSCONF_DOMAINS && state->dnsrch[n]; n++) {
        if (n == DNSCONF_DOMAINS || strlen(state->dnsrch[n]) >= sizeof conf->domains[n])
            return false; /* a list that is full may be the beginning of a longer one */
        strcpy(conf->domains[n], state->dnsrch[n]);
    }
    conf->domain_count = n;
    return true;
}

/* False where only libc can follow it. */
static bool conf_of_state(const struct __res_state *state, struct dnsconf *conf)
{
    unsigned long options = state->options;
    conf->options = options;
    conf->servers.timeout = state->retrans * 1000;
    conf->servers.rotate = options & RES_ROTATE;
    conf->servers.extended = options & RES_USE_EDNS0;
    conf->servers.stream = options & RES_USEVC;
    conf->attempts = state->retry;
    conf->dots = state->ndots;
    conf->search = options & RES_DNSRCH;
    conf->defaults = options & RES_DEFNAMES;
    conf->as_is = !(options & RES_NOTLDQUERY);
    conf->in_turn = options & (RES_SNGLKUP | RES_SNGLKUPREOP);
    return !(options & ~options_known) && !state->nsort && state->retrans > 0 &&
           state_addresses(state, &conf->servers) && state_domains(state, conf);
}

static bool conf_of_libc(struct dnsconf *conf)
{
    struct __res_state *state = green_calloc(1, sizeof *state); /* the stack may be small */
    bool known = state && res_ninit(state) == 0;
    if (known) {
        known = conf_of_state(state, conf);
        res_nclose(state);
    }
    green_free(state);
    return known;
}

/* ---- The current one ---- */

static struct dnsconf *conf_new(const struct dns_file_state *states)
{
    struct dnsconf *conf = green_calloc(1, sizeof *conf);
    if (!conf)
        return NULL;
    int saved = errno;
    bool lost = false;
    memcpy(conf->states, states, sizeof conf->states);
    conf->overridden = atomic_load(&conf_overridden);
    conf->plan = plan_of_nsswitch();
    if (conf->overridden || !conf_of_libc(conf) || !lines_begin(paths[GAI_CONF], NULL) ||
        !lines_begin(paths[HOST_CONF], "multi") || variables_set() || states[NSCD_SOCKET].inode)
        conf->plan = DNSCONF_LIBC;
    if (conf->plan == DNSCONF_FILES_DNS)
        conf->hosts = hosts_read(paths[HOSTS], &lost);
    if (lost)
        conf->plan = DNSCONF_LIBC;
    errno = saved;
    return conf;
}

static void conf_free(struct dnsconf *conf)
{
    hosts_free(conf->hosts);
    green_free(conf);
}

static bool servers_same(const struct resolver_servers *a, const struct resolver_servers *b)
{
    return a->count == b->count && a->timeout == b->timeout && a->rotate == b->rotate &&
           a->extended == b->extended && a->stream == b->stream &&
           !memcmp(a->address, b->address, a->count * sizeof a->address[0]);
}

/* Under the lock. Returns what is to be freed. */
static struct dnsconf *conf_replace(struct dnsconf *conf)
{
    struct dnsconf *old = conf_current;
    conf->servers.generation = old && servers_same(&old->servers, &conf->servers)
                                   ? old->servers.generation
                                   : ++conf_generations;
    conf->references = 1;
    conf_current = conf;
    return old && --old->references == 0 ? old : NULL;
}

struct dnsconf *dnsconf_get(void)
{
    struct dns_file_state states[DNSCONF_FILES];
    for (unsigned i = 0; i < DNSCONF_FILES; i++)
        states[i] = dns_file_state(paths[i]);
    lock_acquire(&conf_lock);
    struct dnsconf *conf = conf_current, *old = NULL;
    if (!conf || conf->overridden != atomic_load(&conf_overridden) ||
        memcmp(conf->states, states, sizeof states)) {
        lock_release(&conf_lock);
        conf = conf_new(states);
        if (!conf)
            return NULL;
        lock_acquire(&conf_lock);
        old = conf_replace(conf);
    }
    conf->references++;
    lock_release(&conf_lock);
    if (old)
        conf_free(old);
    return conf;
}

void dnsconf_release(struct dnsconf *conf)
{
    if (!conf)
        return;
    lock_acquire(&conf_lock);
    bool last = --conf->references == 0;
    lock_release(&conf_lock);
    if (last)
        conf_free(conf);
}

bool dnsconf_differs(const struct dnsconf *conf)
{
    const struct __res_state *state = __res_state();
    struct resolver_servers servers = {.count = 0};
    if (!(state->options & RES_INIT))
        return false;
    if ((state->options ^ conf->options) & ~(unsigned long)(RES_SNGLKUP | RES_SNGLKUPREOP))
        return true; /* those two libc sets by itself when a server ignores one of two questions */
    if (state->retrans * 1000 != conf->servers.timeout || state->retry != conf->attempts ||
        state->ndots != conf->dots || state->nsort || !state_addresses(state, &servers))
        return true;
    for (unsigned i = 0; i <= conf->domain_count; i++) {
        const char *domain = state->dnsrch[i];
        if (i == conf->domain_count ? domain != NULL : !domain || strcmp(domain, conf->domains[i]))
            return true;
    }
    return servers.count != conf->servers.count ||
           memcmp(servers.address, conf->servers.address, servers.count * sizeof *servers.address);
}

void dnsconf_override(void)
{
    atomic_store(&conf_overridden, true);
}

void dnsconf_fork(void)
{
    lock_init(&conf_lock);
}
