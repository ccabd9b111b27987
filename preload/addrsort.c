/* Each address is tried with a UDP socket, which sends nothing: the kernel says from where it would
 * be reached. Then the rules, in their order.
 */
#include "addrsort.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "coro/sys.h"
#include "hub/alloc.h"

/* One address and what is known of it. Addresses are kept in their IPv6 form. */
struct choice {
    struct addrinfo *info;
    size_t place; /* in the list as it came */
    int family;
    struct in6_addr to, from;
    bool reached; /* `from` is known */
    bool native;
    bool native_known;
    uint8_t flags, prefix;
    uint32_t interface;
};

/* ---- Properties ---- */

struct prefix_value {
    uint8_t prefix[16];
    uint8_t bits;
    int value;
};

/* More specific ones first. */
static const struct prefix_value labels[] = {
    {{[15] = 1}, 128, 0},  {{0x20, 0x02}, 16, 2},
    {{0}, 96, 3},          {{[10] = 0xff, [11] = 0xff}, 96, 4},
    {{0xfe, 0xc0}, 10, 5}, {{0xfc}, 7, 6},
    {{0x20, 0x01}, 32, 7}, {{0}, 0, 1},
};

static const struct prefix_value precedences[] = {
    {{[15] = 1}, 128, 50}, {{0x20, 0x02}, 16, 30},
    {{0}, 96, 20},         {{[10] = 0xff, [11] = 0xff}, 96, 10},
    {{0}, 0, 40},
};

static bool prefix_has(const struct prefix_value *p, const struct in6_addr *address)
{
    unsigned whole = p->bits / 8, rest = p->bits % 8;
    if (memcmp(p->prefix, address->s6_addr, whole))
        return false;
    return !rest || !((p->prefix[whole] ^ address->s6_addr[whole]) >> (8 - rest));
}

static int value_of(const struct prefix_value *table, const struct in6_addr *address)
{
    while (!prefix_has(table, address))
        table++;
    return table->value;
}

static int scope_of(int family, const struct in6_addr *address)
{
    enum { LINK = 2, SITE = 5, GLOBAL = 14 };
    const uint8_t *a = address->s6_addr;
    if (family == AF_INET)
        return a[12] == 127 || (a[12] == 169 && a[13] == 254) ? LINK : GLOBAL;
    if (IN6_IS_ADDR_MULTICAST(address))
        return a[1] & 0xf;
    if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_LOOPBACK(address))
        return LINK;
    return IN6_IS_ADDR_SITELOCAL(address) ? SITE : GLOBAL;
}

static uint32_t word_of(const struct in6_addr *address, unsigned i)
{
    return ntohl(address->s6_addr32[i]);
}

static int leading_zeros(uint32_t word)
{
    return word ? __builtin_clz(word) : 32;
}

/* ---- The rules: negative when a is better, 0 when they are equal ---- */

static int better(bool a, bool b)
{
    return (int)b - (int)a;
}

static int less(int a, int b)
{
    return (a > b) - (a < b);
}

static bool same_scope(const struct choice *c)
{
    return scope_of(c->family, &c->to) == scope_of(c->family, &c->from);
}

static bool same_label(const struct choice *c)
{
    return value_of(labels, &c->to) == value_of(labels, &c->from);
}

static bool is_native(struct choice *c)
{
    if (!c->native_known)
        c->native = c->interface != UINT32_MAX && netaddrs_native(c->interface);
    c->native_known = true;
    return c->native;
}

/* Bits that an IPv4 address has in common with its source, within their network. */
static int common_four(const struct choice *c)
{
    uint32_t differs = word_of(&c->to, 3) ^ word_of(&c->from, 3);
    /* Without a prefix libc shifts by 32, which shifts by nothing. */
    uint32_t mask = UINT32_MAX << ((32u - c->prefix) & 31);
    return differs & mask ? 0 : leading_zeros(differs);
}

/* libc compares the first word in which either differs from its source. */
static int longer_six(const struct choice *a, const struct choice *b)
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t of_a = word_of(&a->to, i) ^ word_of(&a->from, i);
        uint32_t of_b = word_of(&b->to, i) ^ word_of(&b->from, i);
        if (of_a || of_b)
            return less(leading_zeros(of_b), leading_zeros(of_a));
    }
    return 0;
}

static int longer_prefix(const struct choice *a, const struct choice *b)
{
    if (a->family != b->family)
        return 0;
    return a->family == AF_INET ? less(common_four(b), common_four(a)) : longer_six(a, b);
}

static int compare(const void *one, const void *other)
{
    struct choice *a = *(struct choice *const *)one, *b = *(struct choice *const *)other;
    int r = better(a->reached, b->reached); /* 1 */
    bool both = a->reached && b->reached;
    if (!r && both)
        r = better(same_scope(a), same_scope(b)); /* 2 */
    if (!r && both)
        r = better(!(a->flags & NETADDR_DEPRECATED), !(b->flags & NETADDR_DEPRECATED)); /* 3 */
    if (!r && both)
        r = better(a->flags & NETADDR_HOME, b->flags & NETADDR_HOME); /* 4 */
    if (!r && both)
        r = better(same_label(a), same_label(b)); /* 5 */
    if (!r)
        r = less(value_of(precedences, &b->to), value_of(precedences, &a->to)); /* 6 */
    if (!r && both && a->interface != b->interface)
        r = better(is_native(a), is_native(b)); /* 7 */
    if (!r)
        r = less(scope_of(a->family, &a->to), scope_of(b->family, &b->to)); /* 8 */
    if (!r && both)
        r = longer_prefix(a, b);                 /* 9 */
    return r ? r : a->place < b->place ? -1 : 1; /* 10 */
}

/* ---- Sources ---- */

static void address_of(const struct sockaddr *sa, struct in6_addr *into)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)sa;
    if (sa->sa_family == AF_INET6) {
        *into = six->sin6_addr;
        return;
    }
    memset(into, 0, sizeof *into);
    into->s6_addr[10] = into->s6_addr[11] = 0xff;
    memcpy(&into->s6_addr[12], &four->sin_addr, 4);
}

/* From where would the kernel send? */
static bool find_source(const struct addrinfo *info, struct in6_addr *from)
{
    struct sockaddr_in6 source;
    unsigned size = sizeof source;
    long fd = sys_3(SYS_socket, info->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool found = !sys_3(SYS_connect, fd, info->ai_addr, info->ai_addrlen) &&
                 !sys_3(SYS_getsockname, fd, &source, &size);
    sys_1(SYS_close, fd);
    if (found)
        address_of((struct sockaddr *)&source, from);
    return found;
}

static void choice_fill(struct choice *c, struct addrinfo *info, const struct netaddrs *here)
{
    c->info = info;
    c->family = info->ai_family;
    c->interface = UINT32_MAX;
    address_of(info->ai_addr, &c->to);
    c->reached = find_source(info, &c->from);
    if (!c->reached)
        return;
    /* On the loopback network the source need not be the interface's address. */
    struct in6_addr known = c->from;
    if (c->family == AF_INET && known.s6_addr[12] == 127)
        memcpy(&known.s6_addr[12], (const uint8_t[]){127, 0, 0, 1}, 4);
    const struct netaddr *own = netaddrs_find(here, known.s6_addr);
    if (own) {
        c->flags = own->flags;
        c->prefix = own->prefix;
        c->interface = own->interface;
    }
}

/* ---- The list ---- */

static bool same_address(const struct addrinfo *a, const struct addrinfo *b)
{
    return a->ai_addrlen == b->ai_addrlen && !memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen);
}

struct addrinfo *addrsort(struct addrinfo *list, const struct netaddrs *here)
{
    size_t count = 0, i = 0;
    char *canonical = NULL;
    for (struct addrinfo *a = list; a; a = a->ai_next)
        count++;
    struct choice *choices = green_calloc(count, sizeof *choices);
    struct choice **order = green_alloc(count * sizeof *order);
    if (!choices || !order) {
        green_free(choices);
        green_free(order);
        return NULL;
    }
    for (struct addrinfo *a = list, *last = NULL; a; last = a, a = a->ai_next, i++) {
        if (last && same_address(last, a)) { /* another kind of socket */
            choices[i] = choices[i - 1];
            choices[i].info = a;
        } else {
            choice_fill(&choices[i], a, here);
        }
        choices[i].place = i;
        order[i] = &choices[i];
        if (a->ai_canonname)
            canonical = a->ai_canonname;
        a->ai_canonname = NULL;
    }
    qsort(order, count, sizeof *order, compare);
    for (i = 0; i < count; i++)
        order[i]->info->ai_next = i + 1 < count ? order[i + 1]->info : NULL;
    list = order[0]->info;
    list->ai_canonname = canonical;
    green_free(choices);
    green_free(order);
    return list;
}
