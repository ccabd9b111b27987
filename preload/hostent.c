/* gethostbyname and its family: struct hostent in the caller's buffer, or in one of ours where libc
 * has one of its own.
 */
#include "hostent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cancel.h"
#include "coro/lock.h"
#include "dns.h"
#include "hub/alloc.h"
#include "patch.h"

/* ---- A host in a buffer ---- */

/* What a result is made of. */
struct host_parts {
    const char *name;
    char *const *aliases;   /* ended by NULL */
    char *const *addresses; /* the same */
    int family;
};

struct room {
    char *at;
    size_t left;
};

/* `size` bytes aligned to `align`; NULL when there is no room. */
static void *room_take(struct room *room, size_t size, size_t align)
{
    size_t skip = -(uintptr_t)room->at % align;
    if (room->left < skip || room->left - skip < size)
        return NULL;
    char *taken = room->at + skip;
    room->at = taken + size;
    room->left -= skip + size;
    return taken;
}

static size_t list_length(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* A copy of the list; an item's size is `size`, or that of its text where `size` is 0. */
static char **room_list(struct room *room, char *const *list, size_t size)
{
    size_t n = list_length(list);
    char **copy = room_take(room, (n + 1) * sizeof *copy, _Alignof(char *));
    for (size_t i = 0; copy && i < n; i++) {
        size_t bytes = size ? size : strlen(list[i]) + 1;
        copy[i] = room_take(room, bytes, size ? _Alignof(struct in_addr) : 1);
        if (!copy[i])
            return NULL;
        memcpy(copy[i], list[i], bytes);
    }
    if (copy)
        copy[n] = NULL;
    return copy;
}

/* False when the buffer is too small. */
static bool host_fill(const struct host_parts *parts, struct hostent *into, char *buffer,
                      size_t size)
{
    struct room room = {buffer, size};
    int length = parts->family == AF_INET6 ? 16 : 4;
    struct hostent made = {.h_addrtype = parts->family, .h_length = length};
    size_t name = strlen(parts->name) + 1;
    made.h_addr_list = room_list(&room, parts->addresses, (size_t)length);
    made.h_aliases = made.h_addr_list ? room_list(&room, parts->aliases, 0) : NULL;
    made.h_name = made.h_aliases ? room_take(&room, name, 1) : NULL;
    if (!made.h_name)
        return false;
    memcpy(made.h_name, parts->name, name);
    *into = made;
    return true;
}

/* ---- What is asked ---- */

/* One call of any of the functions, and what came of it. */
struct host_call {
    const char *name;    /* by name */
    const void *address; /* by address */
    socklen_t length;    /* of the address */
    int family;
    struct hostent *into;
    char *buffer;
    size_t size;
    struct hostent **result;
    int *error; /* h_errno */
    long (*libc)(void *arg);
};

static void address_name(const void *address, int family, char *name)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = address;
    if (family == AF_INET) {
        snprintf(name, RESOLVER_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1],
                 bytes[0]);
        return;
    }
    for (int i = 15; i >= 0; i--) {
        *name++ = digits[bytes[i] & 15];
        *name++ = '.';
        *name++ = digits[bytes[i] >> 4];
        *name++ = '.';
    }
    strcpy(name, "ip6.arpa");
}

enum dns_result hostent_by_address(const struct dnsconf *conf, const void *address, int family,
                                   struct hostent **host)
{
    char name[RESOLVER_NAME_MAX + 1];
    address_name(address, family, name);
    return dns_query(conf, name, RESOLVER_PTR, host);
}

/* The answer into the caller's buffer; without parts it is too small whatever the answer is. */
static int host_store(struct host_call *call, const struct host_parts *parts)
{
    if (parts && host_fill(parts, call->into, call->buffer, call->size)) {
        *call->result = call->into;
        *call->error = NETDB_SUCCESS;
        return 0;
    }
    *call->result = NULL;
    *call->error = NETDB_INTERNAL;
    return errno = ERANGE;
}

static int host_none(struct host_call *call, enum dns_result result)
{
    *call->result = NULL;
    *call->error = h_errno;
    return call->name && result == DNS_AGAIN ? (errno = EAGAIN) : 0;
}

static enum dns_result host_ask(const struct host_call *call, const struct dnsconf *conf,
                                struct hostent **host)
{
    const int type = call->family == AF_INET6 ? RESOLVER_AAAA : RESOLVER_A;
    if (call->name)
        return dns_search(conf, call->name, &type, 1, host);
    return hostent_by_address(conf, call->address, call->family, host);
}

static int host_answer(struct host_call *call, const struct hostent *host)
{
    /* Of several names of an address libc takes the first. */
    char *none[] = {NULL}, *asked[] = {(char *)(uintptr_t)call->address, NULL};
    struct host_parts parts = {.name = host->h_name, .family = call->family};
    parts.aliases = call->name ? host->h_aliases : none;
    parts.addresses = call->name ? host->h_addr_list : asked;
    return host_store(call, &parts);
}

/* With less libc does not even get through /etc/hosts. */
enum { FILES_LEAST = 34 };

static enum dns_way host_way(const struct host_call *call, struct dnsconf **conf)
{
    static const struct in6_addr any;
    *conf = NULL;
    if (call->family != AF_INET && call->family != AF_INET6)
        return DNS_HERE;
    if (call->name)
        return dns_name_numeric(call->name) ? DNS_HERE
                                            : dns_way_name(call->name, call->family, conf);
    socklen_t length = call->family == AF_INET6 ? 16 : 4;
    if (call->length != length || (length == 16 && !memcmp(call->address, &any, 16)))
        return DNS_HERE;
    return dns_way_address(call->address, call->family, conf);
}

static int host_go(struct host_call *call)
{
    struct dnsconf *conf;
    struct hostent *host = NULL;
    enum dns_way way = host_way(call, &conf);
    if (way != DNS_ASK)
        return (int)dns_libc(way, call->libc, call);
    if (conf->hosts && call->size < FILES_LEAST) {
        dnsconf_release(conf);
        return host_store(call, NULL);
    }
    int own = h_errno;
    enum dns_result result = host_ask(call, conf, &host);
    dnsconf_release(conf);
    if (result == DNS_CANCELLED)
        cancel_act();
    if (result == DNS_UNSURE)
        return (int)dns_libc(DNS_HELPER, call->libc, call);
    dns_counted();
    int error = result == DNS_FOUND ? host_answer(call, host) : host_none(call, result);
    resolver_free(host);
    h_errno = own; /* these functions have another place for it */
    return error;
}

/* ---- The functions with a buffer ---- */

static long libc_by_name(void *arg)
{
    struct host_call *c = arg;
    return real.gethostbyname_r(c->name, c->into, c->buffer, c->size, c->result, c->error);
}

static long libc_by_name2(void *arg)
{
    struct host_call *c = arg;
    return real.gethostbyname2_r(c->name, c->family, c->into, c->buffer, c->size, c->result,
                                 c->error);
}

static long libc_by_address(void *arg)
{
    struct host_call *c = arg;
    return real.gethostbyaddr_r(c->address, c->length, c->family, c->into, c->buffer, c->size,
                                c->result, c->error);
}

int green_gethostbyname_r(const char *name, struct hostent *into, char *buffer, size_t size,
                          struct hostent **result, int *error)
{
    PASS_UNLESS_GREEN(gethostbyname_r, name, into, buffer, size, result, error);
    return host_go(&(struct host_call){.name = name,
                                       .family = AF_INET,
                                       .into = into,
                                       .buffer = buffer,
                                       .size = size,
                                       .result = result,
                                       .error = error,
                                       .libc = libc_by_name});
}

int green_gethostbyname2_r(const char *name, int family, struct hostent *into, char *buffer,
                           size_t size, struct hostent **result, int *error)
{
    PASS_UNLESS_GREEN(gethostbyname2_r, name, family, into, buffer, size, result, error);
    return host_go(&(struct host_call){.name = name,
                                       .family = family,
                                       .into = into,
                                       .buffer = buffer,
                                       .size = size,
                                       .result = result,
                                       .error = error,
                                       .libc = libc_by_name2});
}

int green_gethostbyaddr_r(const void *address, socklen_t length, int family, struct hostent *into,
                          char *buffer, size_t size, struct hostent **result, int *error)
{
    PASS_UNLESS_GREEN(gethostbyaddr_r, address, length, family, into, buffer, size, result, error);
    return host_go(&(struct host_call){.address = address,
                                       .length = length,
                                       .family = family,
                                       .into = into,
                                       .buffer = buffer,
                                       .size = size,
                                       .result = result,
                                       .error = error,
                                       .libc = libc_by_address});
}

/* ---- The functions without: one result for all threads, as in libc ---- */

struct host_static {
    struct lock
        lock; /* guards the change of `buffer`, no more: who reads the result reads a race */
    struct hostent host;
    char *buffer;
    size_t size;
};

/* Ask into a buffer of the calling thread's, as large as it takes, and publish the result. The
 * first one is large because another is another question. */
static struct hostent *static_go(struct host_static *into, struct host_call *call)
{
    struct hostent host, *result = NULL;
    int error = 0, code;
    call->into = &host;
    call->result = &result;
    call->error = &error;
    call->size = 4096;
    do {
        green_free(call->buffer);
        call->size *= 2;
        call->buffer = green_alloc(call->size);
        if (!call->buffer) {
            h_errno = NETDB_INTERNAL;
            errno = ENOMEM;
            return NULL;
        }
        code = host_go(call);
    } while (code == ERANGE && error == NETDB_INTERNAL);
    if (error)
        h_errno = error;
    if (!result) {
        green_free(call->buffer);
        return NULL;
    }
    lock_acquire(&into->lock);
    char *old = into->buffer;
    into->buffer = call->buffer;
    into->host = host;
    lock_release(&into->lock);
    green_free(old);
    return &into->host;
}

struct hostent *green_gethostbyname(const char *name)
{
    static struct host_static result;
    PASS_UNLESS_GREEN(gethostbyname, name);
    return static_go(&result,
                     &(struct host_call){.name = name, .family = AF_INET, .libc = libc_by_name});
}

struct hostent *green_gethostbyname2(const char *name, int family)
{
    static struct host_static result;
    PASS_UNLESS_GREEN(gethostbyname2, name, family);
    return static_go(&result,
                     &(struct host_call){.name = name, .family = family, .libc = libc_by_name2});
}

struct hostent *green_gethostbyaddr(const void *address, socklen_t length, int family)
{
    static struct host_static result;
    PASS_UNLESS_GREEN(gethostbyaddr, address, length, family);
    return static_go(&result, &(struct host_call){.address = address,
                                                  .length = length,
                                                  .family = family,
                                                  .libc = libc_by_address});
}
