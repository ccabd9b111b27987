/* The resolver's own interface: packets for programs that read them themselves. libc asks, on a
 * helper thread.
 *
 * <resolv.h> is included here and in dnsconf.c only, for it defines macros like p_type; so the
 * tables' prototypes are compared here.
 */
#include <resolv.h>
#include <string.h>

#include "dns.h"
#include "patch.h"

#define SAME(name)                                                                         \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&name), __typeof__(real.name)), \
                   #name " has another prototype in the header")
SAME(res_query);
SAME(res_search);
SAME(res_querydomain);
SAME(res_send);
SAME(res_nquery);
SAME(res_nsearch);
SAME(res_nquerydomain);
SAME(res_nsend);

/* One call of any of the eight; what it does not have is NULL or 0. */
struct res_call {
    struct __res_state *state; /* NULL: the calling thread's */
    const char *name;
    const char *domain;
    const unsigned char *message;
    int length;
    int class;
    int type;
    unsigned char *answer;
    int size;
};

static int res_go(long (*libc)(void *arg), struct res_call *call)
{
    enum dns_way way = dns_way_thread(!call->state);
    /* The thread's own state, given by its address, is the same on a helper thread. */
    if (!call->state && way == DNS_APART && _res.options & RES_INIT) {
        call->state = &_res;
        way = dns_way_thread(false);
    }
    return (int)dns_libc(way, libc, call);
}

static long query_libc(void *arg)
{
    struct res_call *c = arg;
    return c->state ? real.res_nquery(c->state, c->name, c->class, c->type, c->answer, c->size)
                    : real.res_query(c->name, c->class, c->type, c->answer, c->size);
}

int green_res_query(const char *name, int class, int type, unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_query, name, class, type, answer, size);
    return res_go(query_libc,
                  &(struct res_call){
                      .name = name, .class = class, .type = type, .answer = answer, .size = size});
}

int green_res_nquery(struct __res_state *state, const char *name, int class, int type,
                     unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_nquery, state, name, class, type, answer, size);
    return res_go(query_libc, &(struct res_call){.state = state,
                                                 .name = name,
                                                 .class = class,
                                                 .type = type,
                                                 .answer = answer,
                                                 .size = size});
}

static long search_libc(void *arg)
{
    struct res_call *c = arg;
    return c->state ? real.res_nsearch(c->state, c->name, c->class, c->type, c->answer, c->size)
                    : real.res_search(c->name, c->class, c->type, c->answer, c->size);
}

int green_res_search(const char *name, int class, int type, unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_search, name, class, type, answer, size);
    return res_go(search_libc,
                  &(struct res_call){
                      .name = name, .class = class, .type = type, .answer = answer, .size = size});
}

int green_res_nsearch(struct __res_state *state, const char *name, int class, int type,
                      unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_nsearch, state, name, class, type, answer, size);
    return res_go(search_libc, &(struct res_call){.state = state,
                                                  .name = name,
                                                  .class = class,
                                                  .type = type,
                                                  .answer = answer,
                                                  .size = size});
}

static long domain_libc(void *arg)
{
    struct res_call *c = arg;
    return c->state
               ? real.res_nquerydomain(c->state, c->name, c->domain, c->class, c->type, c->answer,
                                       c->size)
               : real.res_querydomain(c->name, c->domain, c->class, c->type, c->answer, c->size);
}

int green_res_querydomain(const char *name, const char *domain, int class, int type,
                          unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_querydomain, name, domain, class, type, answer, size);
    return res_go(domain_libc, &(struct res_call){.name = name,
                                                  .domain = domain,
                                                  .class = class,
                                                  .type = type,
                                                  .answer = answer,
                                                  .size = size});
}

int green_res_nquerydomain(struct __res_state *state, const char *name, const char *domain,
                           int class, int type, unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_nquerydomain, state, name, domain, class, type, answer, size);
    return res_go(domain_libc, &(struct res_call){.state = state,
                                                  .name = name,
                                                  .domain = domain,
                                                  .class = class,
                                                  .type = type,
                                                  .answer = answer,
                                                  .size = size});
}

static long send_libc(void *arg)
{
    struct res_call *c = arg;
    return c->state ? real.res_nsend(c->state, c->message, c->length, c->answer, c->size)
                    : real.res_send(c->message, c->length, c->answer, c->size);
}

int green_res_send(const unsigned char *message, int length, unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_send, message, length, answer, size);
    return res_go(
        send_libc,
        &(struct res_call){.message = message, .length = length, .answer = answer, .size = size});
}

int green_res_nsend(struct __res_state *state, const unsigned char *message, int length,
                    unsigned char *answer, int size)
{
    PASS_UNLESS_GREEN(res_nsend, state, message, length, answer, size);
    return res_go(
        send_libc,
        &(struct res_call){
            .state = state, .message = message, .length = length, .answer = answer, .size = size});
}

int green___nss_configure_lookup(const char *database, const char *services)
{
    (void)patch_passes(PATCH___nss_configure_lookup);
    if (database && !strcmp(database, "hosts"))
        dnsconf_override();
    return real.__nss_configure_lookup(database, services);
}
