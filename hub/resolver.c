/* c-ares on the hub. A green thread posts its question to its hub, which asks on its own stack, for
 * programs resolve inside 32 KiB stacks, and parks. Nothing here reads a packet: c-ares does.
 *
 * A channel is c-ares' word for a set of servers, sockets and questions under way. It belongs to
 * one hub, and everything about it is touched on that hub's context only. It is given up for a new
 * one when the servers change, and after CHANNEL_QUESTIONS questions: the answers of one channel go
 * to one port, which an attacker may find out in time, and into one socket buffer.
 */
#include "resolver.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>

#include <ares.h>
#include <ev.h>

#include "alloc.h"
#include "internal.h"

enum {
    CHANNEL_QUESTIONS = 256,
    CHANNEL_BUFFER = 212992, /* with the kernel's default a burst of answers lost some */
    EXTENDED_SIZE = 1200,    /* what libc announces, too */
    PATIENCE_MS = 2000,      /* c-ares has answered by then, whatever happened */
};

/* One socket of a channel. */
struct resolver_socket {
    ev_io io;
    struct channel *channel;
    struct resolver_socket *next;
};

struct channel {
    ares_channel ares;
    struct hub *hub;
    uint64_t generation;
    bool starved;         /* there was no descriptor or no memory for its last socket */
    unsigned asked;       /* questions ever */
    unsigned outstanding; /* and those without an answer */
    struct resolver_socket *sockets;
    ev_timer timer; /* runs while there are questions; never late, often early */
};

/* A hub's resolver; its holder's. */
struct resolver {
    struct channel *current;
};

/* One type of what a green thread asks for. */
struct question {
    struct asking *asking;
    struct channel *channel;
    int type;
    struct resolver_reply reply; /* the hub's, until `unanswered` says that it is done */
};

/* What a green thread asks. On the heap, because whoever asked may leave it behind: a cancelled
 * thread, or one whose signal handler jumped out of the wait. */
struct asking {
    _Atomic int references; /* the asker's, and one for each question on its way */
    _Atomic int unanswered;
    _Atomic(struct green *) green; /* to be woken; NULL when it has left */
    struct hub *hub;               /* where it was asked; immutable */
    struct resolver_servers servers;
    char name[RESOLVER_NAME_MAX + 1];
    unsigned count;
    struct question questions[RESOLVER_TYPES_MAX];
};

/* ---- Life of what is asked ---- */

static void asking_release(struct asking *a)
{
    if (atomic_fetch_sub(&a->references, 1) > 1)
        return;
    for (unsigned i = 0; i < a->count; i++)
        resolver_free(a->questions[i].reply.host);
    green_free(a);
}

static void question_answered(struct question *q, enum resolver_status status, struct hostent *host)
{
    struct asking *a = q->asking;
    q->reply = (struct resolver_reply){status, host};
    struct green *g = atomic_load(&a->green);
    if (atomic_fetch_sub(&a->unanswered, 1) == 1 && g)
        unpark(g); /* it may have gone on for another reason: that costs it one turn */
    asking_release(a);
}

void resolver_free(struct hostent *host)
{
    green_free(host);
}

/* ---- Sockets: c-ares' calls ---- */

static int failed(long error)
{
    errno = (int)-error;
    return -1;
}

static ares_socket_t channel_socket(int family, int type, int protocol, void *channel)
{
    struct channel *c = channel;
    long fd = sys_3(SYS_socket, family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    c->starved = fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM;
    if (fd < 0)
        return failed(fd);
    int size = CHANNEL_BUFFER;
    if (type == SOCK_DGRAM)
        sys_5(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd_make_private((int)fd);
}

static int channel_close(ares_socket_t fd, void *unused)
{
    (void)unused;
    fd_closing(fd);
    fd_private_closed(fd);
    sys_1(SYS_close, fd);
    return 0;
}

static int channel_connect(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t length,
                           void *unused)
{
    (void)unused;
    long r = sys_3(SYS_connect, fd, to, length);
    return r < 0 ? failed(r) : 0;
}

/* c-ares takes an empty datagram, which anybody can send, for the end of the connection. */
static ares_ssize_t channel_receive(ares_socket_t fd, void *to, size_t size, int flags,
                                    struct sockaddr *from, ares_socklen_t *from_length,
                                    void *unused)
{
    (void)unused;
    long r;
    do
        r = sys_6(SYS_recvfrom, fd, to, size, flags, from, from_length);
    while (r == -EINTR || (r == 0 && from));
    return r < 0 ? failed(r) : r;
}

/* The refusal of a datagram before this one would be taken for that of this one, and the one before
 * would wait for its time-out: whoever reads the socket next shall find it. */
static ares_ssize_t channel_send(ares_socket_t fd, const struct iovec *parts, int count,
                                 void *unused)
{
    (void)unused;
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    long r = sys_3(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
    if (r == -ECONNREFUSED)
        r = sys_3(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
    return r < 0 ? failed(r) : r;
}

static const struct ares_socket_functions channel_functions = {
    .asocket = channel_socket,
    .aclose = channel_close,
    .aconnect = channel_connect,
    .arecvfrom = channel_receive,
    .asendv = channel_send,
};

/* ---- Channels ---- */

static void channel_delete(struct channel *c)
{
    ev_timer_stop(c->hub->loop, &c->timer);
    if (c->ares)
        ares_destroy(c->ares); /* closes the sockets, and says so */
    green_free(c);
}

/* Outside of any call into c-ares: a channel without questions needs no timer, and if it was given
 * up, goes. */
static void channel_settle(struct channel *c)
{
    if (c->outstanding)
        return;
    ev_timer_stop(c->hub->loop, &c->timer);
    if (c->hub->resolver->current != c)
        channel_delete(c);
}

static void channel_arm(struct channel *c)
{
    struct timeval left;
    if (!c->outstanding || ev_is_active(&c->timer) || !ares_timeout(c->ares, NULL, &left))
        return;
    ev_now_update(c->hub->loop);
    ev_timer_set(&c->timer, (double)left.tv_sec + (double)left.tv_usec / 1e6 + 0.001, 0.);
    ev_timer_start(c->hub->loop, &c->timer);
}

static void channel_process(struct channel *c, ares_socket_t readable, ares_socket_t writable)
{
    ares_process_fd(c->ares, readable, writable);
    channel_arm(c);
    channel_settle(c);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    channel_process(timer->data, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_socket(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    struct resolver_socket *s = (struct resolver_socket *)io;
    channel_process(s->channel, revents & (EV_READ | EV_ERROR) ? io->fd : ARES_SOCKET_BAD,
                    revents & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
}

/* c-ares wants to know when fd is ready, or, with neither, is about to close it. */
static void on_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = data;
    struct resolver_socket **at = &c->sockets;
    while (*at && (*at)->io.fd != fd)
        at = &(*at)->next;
    struct resolver_socket *s = *at;
    if (s) {
        ev_io_stop(c->hub->loop, &s->io);
        if (!readable && !writable) {
            *at = s->next;
            green_free(s);
        }
    }
    if (!readable && !writable)
        return;
    if (!s) {
        s = green_calloc(1, sizeof *s);
        if (!s)
            return; /* the question times out */
        s->channel = c;
        s->next = c->sockets;
        c->sockets = s;
        ev_init(&s->io, on_socket);
    }
    ev_io_set(&s->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    ev_io_start(c->hub->loop, &s->io);
    c->hub->watchers_pending = true;
}

/* The servers as c-ares takes them, in `nodes`. */
static struct ares_addr_port_node *server_nodes(const struct resolver_servers *servers,
                                                struct ares_addr_port_node *nodes)
{
    for (unsigned i = 0; i < servers->count; i++) {
        const struct sockaddr_in6 *six = &servers->address[i];
        const struct sockaddr_in *four = (const struct sockaddr_in *)six;
        struct ares_addr_port_node *node = &nodes[i];
        *node = (struct ares_addr_port_node){.family = six->sin6_family};
        node->udp_port = node->tcp_port = ntohs(six->sin6_port);
        if (six->sin6_family == AF_INET6)
            memcpy(&node->addr.addr6, &six->sin6_addr, sizeof node->addr.addr6);
        else
            node->addr.addr4 = four->sin_addr;
        node->next = i + 1 < servers->count ? node + 1 : NULL;
    }
    return servers->count ? nodes : NULL;
}

/* Everything is given, so that c-ares reads no file. One try: repeating is the caller's. */
static int channel_open(struct channel *c, const struct resolver_servers *servers)
{
    static char lookups[] = "b";
    struct in_addr nobody = {htonl(INADDR_LOOPBACK)};
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES |
                 (servers->extended ? ARES_FLAG_EDNS : 0) | (servers->stream ? ARES_FLAG_USEVC : 0),
        .timeout = servers->timeout,
        .tries = 1,
        .ndots = 1,
        .servers = &nobody,
        .nservers = 1,
        .lookups = lookups,
        .sock_state_cb = on_state,
        .sock_state_cb_data = c,
        .ednspsz = EXTENDED_SIZE,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
               ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
               ARES_OPT_SORTLIST | ARES_OPT_EDNSPSZ |
               (servers->rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
    struct ares_addr_port_node nodes[RESOLVER_SERVERS_MAX];
    int status = ares_init_options(&c->ares, &options, mask);
    if (status != ARES_SUCCESS) {
        c->ares = NULL;
        return status;
    }
    ares_set_socket_functions(c->ares, &channel_functions, c);
    return ares_set_servers_ports(c->ares, server_nodes(servers, nodes));
}

static struct channel *channel_new(struct hub *h, const struct resolver_servers *servers)
{
    struct channel *c = green_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->hub = h;
    c->generation = servers->generation;
    ev_init(&c->timer, on_timer);
    c->timer.data = c;
    if (channel_open(c, servers) == ARES_SUCCESS)
        return c;
    channel_delete(c);
    return NULL;
}

/* The channel for the next question; NULL when there cannot be one. */
static struct channel *channel_for(struct hub *h, const struct resolver_servers *servers)
{
    if (!h->resolver && !(h->resolver = green_calloc(1, sizeof *h->resolver)))
        return NULL;
    struct channel *c = h->resolver->current;
    if (c && c->generation == servers->generation && c->asked < CHANNEL_QUESTIONS)
        return c;
    h->resolver->current = NULL;
    if (c)
        channel_settle(c);
    return h->resolver->current = channel_new(h, servers);
}

/* ---- Asking and answers ---- */

static enum resolver_status status_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
        return RESOLVER_NO_DATA;
    case ARES_ENOTFOUND:
        return RESOLVER_NOT_FOUND;
    case ARES_ESERVFAIL:
        return RESOLVER_SERVER_FAILED;
    case ARES_ETIMEOUT:
        return RESOLVER_TIMED_OUT;
    case ARES_ECONNREFUSED:
        return RESOLVER_UNREACHABLE;
    default:
        return RESOLVER_UNSURE;
    }
}

/* Blank host with room for so many aliases and addresses of `length` bytes, and for names of `text`
 * bytes in all, in one block. The room for text is at *rest. */
static struct hostent *host_new(size_t aliases, size_t addresses, size_t length, size_t text,
                                char **rest)
{
    size_t pointers = aliases + addresses + 2;
    struct hostent *host =
        green_calloc(1, sizeof *host + pointers * sizeof(char *) + addresses * length + text);
    if (!host)
        return NULL;
    host->h_aliases = (char **)(host + 1);
    host->h_addr_list = host->h_aliases + aliases + 1;
    host->h_length = (int)length;
    char *bytes = (char *)(host->h_aliases + pointers);
    for (size_t i = 0; i < addresses; i++)
        host->h_addr_list[i] = bytes + i * length;
    *rest = bytes + addresses * length;
    return host;
}

static char *text_put(char **rest, const char *text)
{
    char *copy = *rest;
    strcpy(copy, text);
    *rest += strlen(text) + 1;
    return copy;
}

/* Each alias must stand for the name before it, as it does in the answers of all servers that are
 * right; what libc makes of others depends on what it was asked. */
static bool aliases_in_order(const struct ares_addrinfo *found)
{
    const char *name = found->name;
    for (const struct ares_addrinfo_cname *c = found->cnames; c; name = c->name, c = c->next)
        if (!name || !c->alias || !c->name || strcasecmp(c->alias, name))
            return false;
    return name != NULL;
}

static struct hostent *host_of_addresses(const struct ares_addrinfo *found, int family)
{
    size_t aliases = 0, addresses = 0, text = strlen(found->name) + 1;
    const char *name = found->name;
    char *rest;
    for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next, aliases++) {
        text += strlen(c->alias) + 1;
        name = c->name;
    }
    for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next)
        addresses += n->ai_family == family;
    struct hostent *host =
        host_new(aliases, addresses, family == AF_INET ? 4 : 16, text + strlen(name) + 1, &rest);
    if (!host)
        return NULL;
    host->h_addrtype = family;
    host->h_name = text_put(&rest, name);
    char **alias = host->h_aliases, **address = host->h_addr_list;
    for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next)
        *alias++ = text_put(&rest, c->alias);
    for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
        if (n->ai_family != family)
            continue;
        const void *from = family == AF_INET
                               ? (void *)&((struct sockaddr_in *)n->ai_addr)->sin_addr
                               : (void *)&((struct sockaddr_in6 *)n->ai_addr)->sin6_addr;
        memcpy(*address++, from, (size_t)host->h_length);
    }
    return host;
}

/* All PTR records as aliases, the first as the name. */
static struct hostent *host_of_names(const struct hostent *found)
{
    size_t aliases = 0, text = 0;
    char *rest;
    while (found->h_aliases && found->h_aliases[aliases])
        text += strlen(found->h_aliases[aliases++]) + 1;
    struct hostent *host = aliases ? host_new(aliases, 0, 0, text, &rest) : NULL;
    for (size_t i = 0; host && i < aliases; i++)
        host->h_aliases[i] = text_put(&rest, found->h_aliases[i]);
    if (host)
        host->h_name = host->h_aliases[0];
    return host;
}

static void question_over(struct question *q, int status, struct hostent *host)
{
    bool starved = q->channel->starved;
    q->channel->outstanding--;
    q->channel->hub->awaited--;
    if (status != ARES_SUCCESS)
        question_answered(q, starved ? RESOLVER_UNSURE : status_of(status), NULL);
    else
        question_answered(q, host ? RESOLVER_FOUND : RESOLVER_UNSURE, host);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct question *q = arg;
    struct hostent *host = NULL;
    (void)timeouts;
    if (status == ARES_SUCCESS && found->nodes && aliases_in_order(found))
        host = host_of_addresses(found, q->type == RESOLVER_A ? AF_INET : AF_INET6);
    if (found)
        ares_freeaddrinfo(found);
    question_over(q, status, host);
}

static void on_names(void *arg, int status, int timeouts, unsigned char *answer, int length)
{
    struct question *q = arg;
    struct hostent *found = NULL, *host = NULL;
    (void)timeouts;
    if (status == ARES_SUCCESS &&
        ares_parse_ptr_reply(answer, length, NULL, 0, AF_INET, &found) == ARES_SUCCESS) {
        host = host_of_names(found);
        ares_free_hostent(found);
    }
    question_over(q, status, host);
}

static void on_anything(void *arg, int status, int timeouts, unsigned char *answer, int length)
{
    (void)timeouts, (void)answer, (void)length;
    question_over(arg, status, NULL);
}

/* The answer may come within. */
static void question_ask(struct question *q, const char *name)
{
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_CANONNAME | ARES_AI_NOSORT,
        .ai_family = q->type == RESOLVER_A ? AF_INET : AF_INET6,
    };
    struct channel *c = q->channel; /* q may be gone afterwards */
    c->asked++;
    c->outstanding++;
    c->hub->awaited++;
    if (q->type == RESOLVER_PTR)
        ares_query(c->ares, name, ns_c_in, ns_t_ptr, on_names, q);
    else if (q->type & RESOLVER_NONE)
        ares_query(c->ares, name, ns_c_in, q->type & ~RESOLVER_NONE, on_anything, q);
    else
        ares_getaddrinfo(c->ares, name, NULL, &hints, on_addresses, q);
    channel_arm(c);
}

/* The request to the hub. */
struct post {
    struct hub_command command; /* first: the hub frees it */
    struct asking *asking;
};

static void on_post(struct hub *h, struct hub_command *command)
{
    struct asking *a = ((struct post *)command)->asking;
    for (unsigned i = 0, count = a->count; i < count; i++) { /* the last answer may free it */
        struct question *q = &a->questions[i];
        struct channel *c = atomic_load(&a->green) ? channel_for(h, &a->servers) : NULL;
        q->channel = c;
        if (c)
            question_ask(q, a->name);
        else
            question_answered(q, RESOLVER_UNSURE, NULL);
    }
}

/* Done, or lost: in a child that a signal handler forked during the wait. */
static bool asking_over(void *arg)
{
    struct asking *a = arg;
    return atomic_load(&a->unanswered) == 0 || green_tls.self->hub != a->hub;
}

static struct asking *asking_new(struct green *g, const struct resolver_servers *servers,
                                 const char *name, const int *types, unsigned n)
{
    struct asking *a = green_calloc(1, sizeof *a);
    struct post *post = green_calloc(1, sizeof *post);
    if (!a || !post) {
        green_free(a);
        green_free(post);
        return NULL;
    }
    atomic_store(&a->references, (int)n + 1);
    atomic_store(&a->unanswered, (int)n);
    atomic_store(&a->green, g);
    a->hub = g->hub;
    a->servers = *servers;
    strncpy(a->name, name, RESOLVER_NAME_MAX);
    a->count = n;
    for (unsigned i = 0; i < n; i++)
        a->questions[i] = (struct question){.asking = a, .type = types[i]};
    post->asking = a;
    post->command.run = on_post;
    hub_command_send(g->hub, &post->command);
    return a;
}

static bool ask_once(struct green *g, struct asking *a, struct resolver_reply *replies,
                     int64_t deadline, bool *cancelled)
{
    enum park_result r;
    g->pinned = true; /* asking_over() compares the hub */
    do {
        enum wait_result result;
        g->waits_for = WAIT_DNS;
        g->wait_object = a;
        r = park_until(g, asking_over, a, deadline);
        *cancelled = r == PARK_INTERRUPTED && park_interrupted(g, WAIT_BY_CANCEL, &result);
    } while (r == PARK_INTERRUPTED && !*cancelled);
    g->pinned = false;
    if (g->hub != a->hub)
        return false;
    bool answered = atomic_load(&a->unanswered) == 0;
    for (unsigned i = 0; i < a->count; i++) {
        replies[i] = (struct resolver_reply){RESOLVER_TIMED_OUT, NULL};
        if (answered && !*cancelled) {
            replies[i] = a->questions[i].reply;
            a->questions[i].reply.host = NULL;
        }
    }
    atomic_store(&a->green, NULL);
    asking_release(a);
    return true;
}

bool resolver_ask(const struct resolver_servers *servers, const char *name, const int *types,
                  unsigned n, struct resolver_reply *replies)
{
    for (unsigned i = 0; i < n; i++)
        replies[i] = (struct resolver_reply){RESOLVER_UNSURE, NULL};
    struct green *g = enter();
    bool cancelled = false;
    if (!g->foreign && strlen(name) <= RESOLVER_NAME_MAX) {
        struct asking *a;
        int64_t patience = (int64_t)servers->timeout * servers->count + PATIENCE_MS;
        do
            a = asking_new(g, servers, name, types, n);
        while (a && !ask_once(g, a, replies, deadline_after(patience * 1000000), &cancelled));
    }
    leave();
    return !cancelled;
}
