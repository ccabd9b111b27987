/* One call that resolves, made on a thread with a small stack, with its result as text: natively
 * and under libgreen the text must be the same.
 *
 *     lookup OPERATION [ARGUMENT]...
 *
 *     gai NAME SERVICE FLAGS FAMILY SOCKTYPE PROTOCOL    getaddrinfo; "-" is NULL, FLAGS like
 *         canonname+passive, "-" for no hints at all
 *     host NAME FAMILY                gethostbyname2
 *     host1 NAME                      gethostbyname
 *     host_r NAME FAMILY SIZE         gethostbyname2_r with a buffer of SIZE
 *     addr ADDRESS                    gethostbyaddr
 *     addr_r ADDRESS SIZE             gethostbyaddr_r
 *     name ADDRESS FLAGS HOSTSIZE SERVSIZE    getnameinfo of port 80
 *     async NAME                      getaddrinfo_a, gai_suspend
 *     query NAME TYPE                 res_query; TYPE is a number
 *     search NAME TYPE                res_search
 *     nquery NAME TYPE                res_nquery with a state of its own
 * Operations may be strung together with "then": each runs on the same thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *word;
    int value;
} words[] = {
    {"passive", AI_PASSIVE},
    {"canonname", AI_CANONNAME},
    {"numerichost", AI_NUMERICHOST},
    {"v4mapped", AI_V4MAPPED},
    {"all", AI_ALL},
    {"addrconfig", AI_ADDRCONFIG},
    {"idn", AI_IDN},
    {"canonidn", AI_CANONIDN},
    {"numericserv", AI_NUMERICSERV},
    {"bad", 0x4000},
    {"inet", AF_INET},
    {"inet6", AF_INET6},
    {"unspec", AF_UNSPEC},
    {"unix", AF_UNIX},
    {"stream", SOCK_STREAM},
    {"dgram", SOCK_DGRAM},
    {"raw", SOCK_RAW},
    {"seqpacket", SOCK_SEQPACKET},
    {"tcp", IPPROTO_TCP},
    {"udp", IPPROTO_UDP},
    {"sctp", IPPROTO_SCTP},
    {"ni_numerichost", NI_NUMERICHOST},
    {"ni_numericserv", NI_NUMERICSERV},
    {"ni_nofqdn", NI_NOFQDN},
    {"ni_namereqd", NI_NAMEREQD},
    {"ni_dgram", NI_DGRAM},
    {"ni_idn", NI_IDN},
};

static int number(const char *text)
{
    int sum = 0;
    char copy[256], *rest, *word;
    snprintf(copy, sizeof copy, "%s", text);
    for (word = strtok_r(copy, "+", &rest); word; word = strtok_r(NULL, "+", &rest)) {
        size_t i = 0;
        while (i < sizeof words / sizeof *words && strcmp(words[i].word, word))
            i++;
        sum += i < sizeof words / sizeof *words ? words[i].value : atoi(word);
    }
    return sum;
}

static const char *or_null(const char *text)
{
    return strcmp(text, "-") ? text : NULL;
}

static const char *error_name(int code)
{
    static const struct {
        int code;
        const char *name;
    } names[] = {{0, "OK"},
                 {EAI_NONAME, "NONAME"},
                 {EAI_NODATA, "NODATA"},
                 {EAI_AGAIN, "AGAIN"},
                 {EAI_FAIL, "FAIL"},
                 {EAI_SERVICE, "SERVICE"},
                 {EAI_SOCKTYPE, "SOCKTYPE"},
                 {EAI_FAMILY, "FAMILY"},
                 {EAI_ADDRFAMILY, "ADDRFAMILY"},
                 {EAI_BADFLAGS, "BADFLAGS"},
                 {EAI_SYSTEM, "SYSTEM"},
                 {EAI_OVERFLOW, "OVERFLOW"},
                 {EAI_IDN_ENCODE, "IDN_ENCODE"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == code)
            return names[i].name;
    return "other";
}

static void print_addrinfo(int code, struct addrinfo *list)
{
    printf("%s\n", error_name(code));
    if (code)
        return;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN] = "?";
        unsigned port = 0, scope = 0, flow = 0;
        if (a->ai_family == AF_INET) {
            struct sockaddr_in *four = (struct sockaddr_in *)a->ai_addr;
            inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
            port = ntohs(four->sin_port);
        } else if (a->ai_family == AF_INET6) {
            struct sockaddr_in6 *six = (struct sockaddr_in6 *)a->ai_addr;
            inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
            port = ntohs(six->sin6_port);
            scope = six->sin6_scope_id;
            flow = six->sin6_flowinfo;
        }
        printf("%s port %u scope %u flow %u family %d/%d type %d protocol %d length %u flags %#x "
               "name %s\n",
               text, port, scope, flow, a->ai_family, a->ai_addr->sa_family, a->ai_socktype,
               a->ai_protocol, a->ai_addrlen, a->ai_flags, a->ai_canonname ? a->ai_canonname : "-");
    }
    freeaddrinfo(list);
}

static void print_host(const struct hostent *host)
{
    if (!host) {
        printf("h_errno %d\n", h_errno);
        return;
    }
    printf("%s family %d length %d aliases", host->h_name, host->h_addrtype, host->h_length);
    for (char **alias = host->h_aliases; *alias; alias++)
        printf(" %s", *alias);
    printf(" addresses");
    for (char **address = host->h_addr_list; *address; address++) {
        char text[INET6_ADDRSTRLEN];
        printf(" %s", inet_ntop(host->h_addrtype, *address, text, sizeof text));
    }
    printf("\n");
}

static void print_host_r(int code, const struct hostent *result, const struct hostent *into,
                         int error)
{
    printf("code %d h_errno %d result %s\n", code, error,
           !result          ? "NULL"
           : result == into ? "given"
                            : "other");
    if (result)
        print_host(result);
}

static socklen_t address_of(const char *text, struct sockaddr_storage *into)
{
    struct sockaddr_in *four = (struct sockaddr_in *)into;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)into;
    memset(into, 0, sizeof *into);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(80);
        return sizeof *four;
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(80);
    inet_pton(AF_INET6, text, &six->sin6_addr);
    return sizeof *six;
}

static const void *bytes_of(const struct sockaddr_storage *address, socklen_t *length)
{
    if (address->ss_family == AF_INET) {
        *length = 4;
        return &((const struct sockaddr_in *)address)->sin_addr;
    }
    *length = 16;
    return &((const struct sockaddr_in6 *)address)->sin6_addr;
}

/* ---- Operations ---- */

static void do_gai(char **a)
{
    struct addrinfo hints = {.ai_family = number(a[3]),
                             .ai_socktype = number(a[4]),
                             .ai_protocol = number(a[5])},
                    *list = NULL;
    const struct addrinfo *given = or_null(a[2]) ? &hints : NULL;
    if (given)
        hints.ai_flags = number(a[2]);
    int code = getaddrinfo(or_null(a[0]), or_null(a[1]), given, &list);
    print_addrinfo(code, list);
}

static void do_host(char **a)
{
    h_errno = 0;
    print_host(gethostbyname2(a[0], number(a[1])));
}

static void do_host1(char **a)
{
    h_errno = 0;
    print_host(gethostbyname(a[0]));
}

static void do_host_r(char **a)
{
    struct hostent into, *result = &into;
    size_t size = (size_t)atol(a[2]);
    char *buffer = malloc(size + 1);
    int error = -1;
    int code = gethostbyname2_r(a[0], number(a[1]), &into, buffer, size, &result, &error);
    print_host_r(code, result, &into, error);
    free(buffer);
}

static void do_addr(char **a)
{
    struct sockaddr_storage address;
    socklen_t length;
    address_of(a[0], &address);
    const void *bytes = bytes_of(&address, &length);
    h_errno = 0;
    print_host(gethostbyaddr(bytes, length, address.ss_family));
}

static void do_addr_r(char **a)
{
    struct sockaddr_storage address;
    struct hostent into, *result = &into;
    socklen_t length;
    size_t size = (size_t)atol(a[1]);
    char *buffer = malloc(size + 1);
    int error = -1;
    address_of(a[0], &address);
    const void *bytes = bytes_of(&address, &length);
    int code =
        gethostbyaddr_r(bytes, length, address.ss_family, &into, buffer, size, &result, &error);
    print_host_r(code, result, &into, error);
    free(buffer);
}

static void do_name(char **a)
{
    struct sockaddr_storage address;
    socklen_t length = address_of(a[0], &address);
    char host[NI_MAXHOST] = "unset", service[NI_MAXSERV] = "unset";
    socklen_t host_size = (socklen_t)atoi(a[2]), service_size = (socklen_t)atoi(a[3]);
    int code = getnameinfo((struct sockaddr *)&address, length, host_size ? host : NULL, host_size,
                           service_size ? service : NULL, service_size, number(a[1]));
    printf("%s", error_name(code));
    if (!code)
        printf(" host %s service %s", host, service);
    printf("\n");
}

static void do_async(char **a)
{
    struct gaicb one = {.ar_name = a[0]}, *list[] = {&one};
    struct timespec limit = {10, 0};
    printf("start %s\n", error_name(getaddrinfo_a(GAI_NOWAIT, list, 1, NULL)));
    int code = gai_suspend((const struct gaicb *const *)list, 1, &limit);
    printf("wait %s\n", code == EAI_ALLDONE ? "OK" : error_name(code)); /* it may be over before */
    print_addrinfo(gai_error(&one), one.ar_result);
}

static void print_answer(int length, const unsigned char *answer)
{
    printf("length %d h_errno %d", length, length < 0 ? h_errno : 0);
    for (int i = 2; i < length; i++) /* not the number of the question */
        printf(" %02x", answer[i]);
    printf("\n");
}

static void do_query(char **a)
{
    unsigned char answer[1024];
    print_answer(res_query(a[0], 1, atoi(a[1]), answer, sizeof answer), answer);
}

static void do_search(char **a)
{
    unsigned char answer[1024];
    print_answer(res_search(a[0], 1, atoi(a[1]), answer, sizeof answer), answer);
}

static void do_nquery(char **a)
{
    unsigned char answer[1024];
    struct __res_state state = {0};
    printf("init %d\n", res_ninit(&state));
    print_answer(res_nquery(&state, a[0], 1, atoi(a[1]), answer, sizeof answer), answer);
    res_nclose(&state);
}

static void do_sleep(char **a)
{
    usleep((useconds_t)atoi(a[0]) * 1000);
}

/* Say that the test may change something, and wait until it has. */
static void do_pause(char **a)
{
    char line[16];
    printf("%s\n", a[0]);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(3);
}

/* The thread sets up its own resolver. */
static void do_options(char **a)
{
    res_init();
    _res.options |= (unsigned long)strtoul(a[0], NULL, 0);
}

static void do_server(char **a)
{
    res_init();
    inet_aton(a[0], &_res.nsaddr_list[0].sin_addr);
    _res.nscount = 1;
}

static const struct {
    const char *name;
    int arguments;
    void (*run)(char **arguments);
} operations[] = {
    {"gai", 6, do_gai},       {"host", 2, do_host},       {"host1", 1, do_host1},
    {"host_r", 3, do_host_r}, {"addr", 1, do_addr},       {"addr_r", 2, do_addr_r},
    {"name", 4, do_name},     {"async", 1, do_async},     {"query", 2, do_query},
    {"search", 2, do_search}, {"nquery", 2, do_nquery},   {"sleep", 1, do_sleep},
    {"pause", 1, do_pause},   {"options", 1, do_options}, {"server", 1, do_server},
};

static void *run(void *arg)
{
    char **a = arg;
    while (*a) {
        size_t i = 0;
        while (i < sizeof operations / sizeof *operations && strcmp(operations[i].name, *a))
            i++;
        if (i == sizeof operations / sizeof *operations) {
            fprintf(stderr, "lookup: what is %s?\n", *a);
            exit(2);
        }
        operations[i].run(a + 1);
        a += 1 + operations[i].arguments;
        if (*a && !strcmp(*a, "then"))
            a++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t attr;
    (void)argc;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 32768); /* as microsocks does */
    if (pthread_create(&thread, &attr, run, argv + 1))
        return 1;
    pthread_join(thread, NULL);
    return 0;
}
