/* Resolving what needs no server: literals, services, flags and errors, /etc/hosts. Names that a
 * server would have to know are in tests/dns. Each check runs on a thread, most on a small stack.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <netdb.h>

#include "kit/expect.h"
#include "kit/threads.h"

enum { SMALL_STACK = 32768 };

static void *check_body(void *check)
{
    ((void (*)(void))(uintptr_t)check)();
    return NULL;
}

/* On a thread with as little stack as programs give to one that resolves. */
static void on_small_stack(void (*check)(void))
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SMALL_STACK);
    EQUALS(pthread_create(&thread, &attr, check_body, (void *)(uintptr_t)check), 0, "a thread");
    finish(thread);
    pthread_attr_destroy(&attr);
}

static int gai(const char *name, const char *service, int flags, int family, int type,
               struct addrinfo **list)
{
    struct addrinfo hints = {.ai_flags = flags, .ai_family = family, .ai_socktype = type};
    *list = NULL;
    return getaddrinfo(name, service, &hints, list);
}

/* How many entries, and what the first says. */
static int list_length(const struct addrinfo *list)
{
    int n = 0;
    for (; list; list = list->ai_next)
        n++;
    return n;
}

static bool first_is(const struct addrinfo *list, int family, const char *address, int port)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (!list || list->ai_family != family)
        return false;
    const struct sockaddr_in *four = (const struct sockaddr_in *)list->ai_addr;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)list->ai_addr;
    inet_ntop(family, family == AF_INET ? (void *)&four->sin_addr : (void *)&six->sin6_addr, text,
              sizeof text);
    return !strcmp(text, address) && ntohs(four->sin_port) == port;
}

static void literals_on_thread(void)
{
    struct addrinfo *list;
    EQUALS(gai("10.1.2.3", "80", 0, AF_UNSPEC, SOCK_STREAM, &list), 0, "an IPv4 address");
    HOLDS(first_is(list, AF_INET, "10.1.2.3", 80), "is what it says");
    freeaddrinfo(list);
    EQUALS(gai("127.1", NULL, 0, AF_UNSPEC, SOCK_STREAM, &list), 0, "a short one");
    HOLDS(first_is(list, AF_INET, "127.0.0.1", 0), "is the whole one");
    freeaddrinfo(list);
    EQUALS(gai("0x7f.1", NULL, 0, AF_UNSPEC, SOCK_STREAM, &list), 0, "a hexadecimal one");
    HOLDS(first_is(list, AF_INET, "127.0.0.1", 0), "is the same");
    freeaddrinfo(list);
    EQUALS(gai("2001:db8::1", "443", 0, AF_UNSPEC, 0, &list), 0, "an IPv6 address");
    HOLDS(first_is(list, AF_INET6, "2001:db8::1", 443), "is what it says");
    EQUALS(list_length(list), 3, "a stream, a datagram and a raw socket");
    freeaddrinfo(list);
    EQUALS(gai("fe80::1%lo", NULL, 0, AF_UNSPEC, SOCK_STREAM, &list), 0, "a scope");
    HOLDS(list && ((struct sockaddr_in6 *)list->ai_addr)->sin6_scope_id == 1, "of an interface");
    freeaddrinfo(list);
    EQUALS(gai("10.1.2.3", NULL, AI_V4MAPPED, AF_INET6, SOCK_STREAM, &list), 0, "mapped");
    HOLDS(first_is(list, AF_INET6, "::ffff:10.1.2.3", 0), "into IPv6");
    freeaddrinfo(list);
    EQUALS(gai("10.1.2.3", NULL, AI_CANONNAME, AF_UNSPEC, SOCK_STREAM, &list), 0,
           "a name is asked for");
    HOLDS(list && list->ai_canonname && !strcmp(list->ai_canonname, "10.1.2.3"), "and is the same");
    freeaddrinfo(list);
}

static void literals(void)
{
    on_small_stack(literals_on_thread);
}

static void services_on_thread(void)
{
    struct addrinfo *list;
    EQUALS(gai("127.0.0.1", "http", 0, AF_UNSPEC, SOCK_STREAM, &list), 0, "a service by name");
    HOLDS(first_is(list, AF_INET, "127.0.0.1", 80), "has its port");
    freeaddrinfo(list);
    EQUALS(gai("127.0.0.1", "no-such-service", 0, AF_UNSPEC, SOCK_STREAM, &list), EAI_SERVICE,
           "one that is not known");
    EQUALS(gai("127.0.0.1", "http", AI_NUMERICSERV, AF_UNSPEC, SOCK_STREAM, &list), EAI_NONAME,
           "a number is wanted");
    EQUALS(gai("127.0.0.1", "80", 0, AF_UNSPEC, SOCK_RAW, &list), EAI_SERVICE,
           "raw sockets have no ports");
    EQUALS(gai("127.0.0.1", "80", 0, AF_UNSPEC, 77, &list), EAI_SOCKTYPE, "no such socket");
    EQUALS(gai(NULL, "80", AI_PASSIVE, AF_INET, SOCK_STREAM, &list), 0, "to listen");
    HOLDS(first_is(list, AF_INET, "0.0.0.0", 80), "on any address");
    freeaddrinfo(list);
    EQUALS(gai(NULL, "80", 0, AF_INET, SOCK_STREAM, &list), 0, "to connect");
    HOLDS(first_is(list, AF_INET, "127.0.0.1", 80), "to this host");
    freeaddrinfo(list);
}

static void services(void)
{
    on_small_stack(services_on_thread);
}

static void errors_on_thread(void)
{
    struct addrinfo *list;
    EQUALS(gai(NULL, NULL, 0, AF_UNSPEC, SOCK_STREAM, &list), EAI_NONAME, "nothing is asked for");
    EQUALS(gai("a.b", NULL, AI_NUMERICHOST, AF_UNSPEC, SOCK_STREAM, &list), EAI_NONAME,
           "no number");
    EQUALS(gai("a.b", NULL, 0x4000, AF_UNSPEC, SOCK_STREAM, &list), EAI_BADFLAGS,
           "an unknown flag");
    EQUALS(gai(NULL, "80", AI_CANONNAME, AF_UNSPEC, SOCK_STREAM, &list), EAI_BADFLAGS, "no name");
    EQUALS(gai("a.b", NULL, 0, AF_UNIX, SOCK_STREAM, &list), EAI_FAMILY, "another family");
    EQUALS(gai("10.1.2.3", NULL, 0, AF_INET6, SOCK_STREAM, &list), EAI_ADDRFAMILY,
           "an address of the other family");
    EQUALS(gai("a.b", "no-such-service", 0, AF_UNSPEC, SOCK_STREAM, &list), EAI_SERVICE,
           "the service comes before the name");
    HOLDS(!strcmp(gai_strerror(EAI_NONAME), "Name or service not known"), "errors have names");
}

static void errors(void)
{
    on_small_stack(errors_on_thread);
}

static void hosts_on_thread(void)
{
    struct addrinfo *list;
    EQUALS(gai("localhost", "80", 0, AF_INET, SOCK_STREAM, &list), 0, "localhost");
    HOLDS(first_is(list, AF_INET, "127.0.0.1", 80), "is this host");
    freeaddrinfo(list);
    struct hostent into, *result = NULL;
    char buffer[1024];
    int error = 0;
    EQUALS(gethostbyname_r("localhost", &into, buffer, sizeof buffer, &result, &error), 0,
           "the same");
    HOLDS(result == &into && result->h_addrtype == AF_INET && result->h_length == 4,
          "in the caller's buffer");
    EQUALS(gethostbyname_r("localhost", &into, buffer, 4, &result, &error), ERANGE, "too small");
    HOLDS(!result && error == NETDB_INTERNAL, "is an error of the call's");
    struct hostent *host = gethostbyname("localhost");
    HOLDS(host && !memcmp(host->h_addr_list[0], "\177\0\0\1", 4), "in libc's own");
    host = gethostbyname2("::1", AF_INET6);
    HOLDS(host && host->h_length == 16, "an IPv6 literal");
    HOLDS(!gethostbyname2("localhost", 77), "another family");
    host = gethostbyaddr("\177\0\0\1", 4, AF_INET);
    HOLDS(host && !strcmp(host->h_name, "localhost"), "and back");
}

static void hosts(void)
{
    on_small_stack(hosts_on_thread);
}

static void nameinfo_on_thread(void)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x7f000001)};
    struct sockaddr *any = (struct sockaddr *)&sa;
    char host[NI_MAXHOST], service[NI_MAXSERV];
    EQUALS(getnameinfo(any, sizeof sa, host, sizeof host, service, sizeof service,
                       NI_NUMERICHOST | NI_NUMERICSERV),
           0, "numbers");
    HOLDS(!strcmp(host, "127.0.0.1") && !strcmp(service, "80"), "are written as they are");
    EQUALS(getnameinfo(any, sizeof sa, host, sizeof host, service, sizeof service, 0), 0, "names");
    HOLDS(!strcmp(host, "localhost") && !strcmp(service, "http"), "from the files");
    EQUALS(getnameinfo(any, sizeof sa, host, 4, NULL, 0, NI_NUMERICHOST), EAI_OVERFLOW,
           "too small");
    EQUALS(getnameinfo(any, 2, host, sizeof host, NULL, 0, 0), EAI_FAMILY, "half an address");
    EQUALS(getnameinfo(any, sizeof sa, host, sizeof host, NULL, 0, 0x4000), EAI_BADFLAGS, "a flag");
    EQUALS(getnameinfo(any, sizeof sa, NULL, 0, NULL, 0, NI_NAMEREQD), EAI_NONAME,
           "nothing is asked for");
}

static void nameinfo(void)
{
    on_small_stack(nameinfo_on_thread);
}

/* A list goes to another thread, which frees it. */
static struct addrinfo *_Atomic handed;

static void *make_lists(void *unused)
{
    for (int i = 0; i < 200; i++) {
        struct addrinfo *list, *empty = NULL;
        if (gai("localhost", "80", AI_CANONNAME, AF_INET, 0, &list))
            return (void *)1;
        while (!atomic_compare_exchange_strong(&handed, &empty, list)) {
            empty = NULL;
            sched_yield();
        }
    }
    return unused;
}

static void lists_travel(void)
{
    pthread_t makers[4];
    for (int i = 0; i < 4; i++)
        makers[i] = start(make_lists, NULL);
    for (int i = 0; i < 4 * 200;) {
        struct addrinfo *list = atomic_exchange(&handed, NULL);
        if (list) {
            HOLDS(first_is(list, AF_INET, "127.0.0.1", 80), "a whole list");
            freeaddrinfo(list);
            i++;
        } else {
            sched_yield();
        }
    }
    for (int i = 0; i < 4; i++)
        EQUALS((long)finish(makers[i]), 0, "all were made");
}

static void asynchronous(void)
{
    struct gaicb four = {.ar_name = "10.1.2.3"},
                 wrong = {.ar_name = "10.1.2.3", .ar_service = "no-such-service"};
    struct gaicb *list[] = {&four, &wrong};
    EQUALS(getaddrinfo_a(GAI_WAIT, list, 2, NULL), 0, "two at once");
    EQUALS(gai_error(&four), 0, "one is right");
    EQUALS(gai_error(&wrong), EAI_SERVICE, "one is not");
    HOLDS(first_is(four.ar_result, AF_INET, "10.1.2.3", 0), "its result");
    freeaddrinfo(four.ar_result);
    EQUALS(getaddrinfo_a(GAI_NOWAIT, list, 1, NULL), 0, "without waiting");
    int code = EAI_AGAIN;
    for (int i = 0; i < 100 && code != EAI_ALLDONE; i++) {
        struct timespec limit = {.tv_nsec = 50000000};
        code = gai_suspend((const struct gaicb *const *)list, 1, &limit);
    }
    EQUALS(code, EAI_ALLDONE, "waited for");
    EQUALS(gai_error(&four), 0, "and there");
    freeaddrinfo(four.ar_result);
}

static const struct check checks[] = {
    CHECK(literals), CHECK(services),     CHECK(errors),       CHECK(hosts),
    CHECK(nameinfo), CHECK(lists_travel), CHECK(asynchronous),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
