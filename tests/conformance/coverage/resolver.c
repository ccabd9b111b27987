/* libc's own resolver calls, which ask a name server that a thread of this program is: so each
 * needs another thread to run while it waits. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int server = -1;
static atomic_int asked;

/* The question again, marked as an answer, and the record A 127.0.0.9. */
static ssize_t answer(unsigned char *packet, ssize_t n)
{
    static const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9};
    packet[2] = 0x81;
    packet[3] = 0x80;
    packet[7] = 1;
    packet[11] = 0;
    memcpy(packet + n, record, sizeof(record));
    return n + (ssize_t)sizeof(record);
}

static void *serve(void *unused)
{
    unsigned char packet[1024];
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    (void)unused;
    for (;;) {
        ssize_t n = recvfrom(server, packet, 512, 0, (struct sockaddr *)&from, &size);
        if (n < 12)
            return NULL;
        sleep_ms(20);
        atomic_fetch_add(&asked, 1);
        sendto(server, packet, (size_t)answer(packet, n), 0, (struct sockaddr *)&from, size);
    }
}

static pthread_t server_start(struct sockaddr_in *where)
{
    socklen_t size = sizeof(*where);
    *where = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(server, (struct sockaddr *)where, sizeof(*where)));
    MUST(getsockname(server, (struct sockaddr *)where, &size));
    return start(serve, NULL);
}

static void server_stop(pthread_t thread, const struct sockaddr_in *where)
{
    sendto(server, "end", 3, 0, (const struct sockaddr *)where, sizeof(*where));
    finish(thread);
    close(server);
}

static void ask_only(struct __res_state *state, const struct sockaddr_in *where)
{
    state->nscount = 1;
    state->nsaddr_list[0] = *where;
    state->retrans = 5;
    state->retry = 2;
    state->options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES | RES_USE_EDNS0);
}

/* One record came back, and the server was asked once more. */
static void came(int before, const unsigned char *packet, int n, const char *what)
{
    static const char address[] = {127, 0, 0, 9};
    HOLDS(n > 16, what);
    if (n > 16)
        BYTES(packet + n - 4, address, 4, what);
    EQUALS(atomic_load(&asked) - before, 1, what);
}

#define ASKS(call)                        \
    do {                                  \
        int before = atomic_load(&asked); \
        int came_n = (call);              \
        came(before, got, came_n, #call); \
    } while (0)

static void own_state(void)
{
    struct __res_state state = {0};
    struct sockaddr_in where;
    unsigned char query[512], got[512];
    pthread_t thread = server_start(&where);
    MUST(res_ninit(&state));
    ask_only(&state, &where);
    ASKS(res_nquery(&state, "one.example.test", C_IN, T_A, got, sizeof(got)));
    ASKS(res_nsearch(&state, "two.example.test.", C_IN, T_A, got, sizeof(got)));
    ASKS(res_nquerydomain(&state, "three", "example.test", C_IN, T_A, got, sizeof(got)));
    int n = res_nmkquery(&state, QUERY, "four.example.test", C_IN, T_A, NULL, 0, NULL, query,
                         sizeof(query));
    HOLDS(n > 0, "res_nmkquery");
    ASKS(res_nsend(&state, query, n, got, sizeof(got)));
    res_nclose(&state);
    server_stop(thread, &where);
}

static void thread_state(void)
{
    struct sockaddr_in where;
    unsigned char query[512], got[512];
    pthread_t thread = server_start(&where);
    MUST(res_init());
    ask_only(&_res, &where);
    ASKS(res_query("one.example.test", C_IN, T_A, got, sizeof(got)));
    ASKS(res_search("two.example.test.", C_IN, T_A, got, sizeof(got)));
    ASKS(res_querydomain("three", "example.test", C_IN, T_A, got, sizeof(got)));
    int n = res_mkquery(QUERY, "four.example.test", C_IN, T_A, NULL, 0, NULL, query, sizeof(query));
    HOLDS(n > 0, "res_mkquery");
    ASKS(res_send(query, n, got, sizeof(got)));
    server_stop(thread, &where);
}

/* A name from a file, and a buffer that is too small for it. */
static void reentrant(void)
{
    struct hostent host, *found = NULL;
    char buffer[4096];
    int error = 0;
    EQUALS(gethostbyname_r("localhost", &host, buffer, sizeof(buffer), &found, &error), 0,
           "gethostbyname_r");
    HOLDS(found == &host && host.h_addrtype == AF_INET, "it found the name");
    EQUALS(gethostbyname_r("localhost", &host, buffer, 8, &found, &error), ERANGE, "a small buffer");
}

static const struct check checks[] = {CHECK(own_state), CHECK(thread_state), CHECK(reentrant)};

TICKING_MAIN(checks)
