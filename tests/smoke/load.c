/* load: see load.h. This file reads the options, runs the phases (ramp, warm, measure or hold, end)
 * and prints the report as KEY=VALUE lines, errors last. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define SECOND 1000000000ull
#define GIVE_UP_AFTER 2000 /* failures with no answer between them: the server is gone */

static const char usage[] =
    "usage: load [options] HOST PORT\n"
    "  what to ask (default: --echo)\n"
    "    --echo              send bytes, expect them back\n"
    "    --http PATH         GET PATH; --expect FILE: the body must equal FILE\n"
    "    --storm             connect, half a request, reset\n"
    "    -s BYTES            size of an echo message (64)\n"
    "  how much\n"
    "    -c N                connections at once (1)\n"
    "    -n N                requests in all (as many as connections), or\n"
    "    -t SECONDS          for so long\n"
    "    --warm SECONDS      of load before the measurement (0)\n"
    "    --per-connection N  requests before a new connection is made\n"
    "    --active N          only the first N go on asking, the others stay idle\n"
    "    --hold SECONDS      when all are open and answered once, keep them so\n"
    "    --ready FILE        make this file when all are open and answered once\n"
    "    --stall N           N more connections that say half a request and stay\n"
    "    --connecting N      at most N in the act of connecting (64)\n"
    "  how\n"
    "    --tls               TLS; --tls12: no later than 1.2; --resume: offer the last session\n"
    "    --rekey             new keys before each request: renegotiate under 1.2\n"
    "    --socks5 HOST:PORT  through a SOCKS5 proxy\n"
    "    --proxy HOST:PORT   through an HTTP proxy (absolute URI)\n"
    "    --ask-close         send Connection: close\n"
    "    --half-close        end by closing our side and awaiting the server's end\n"
    "    --timeout SECONDS   for one request (30)\n"
    "    --server-pid PID    report this process's CPU time over the measured window\n";

uint64_t load_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t server_cpu(int pid)
{
    struct timespec t;
    clockid_t clock;

    if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        return 0;
    }
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void die(const char *what, const char *which)
{
    fprintf(stderr, "load: %s: %s\n", what, which);
    exit(2);
}

static struct sockaddr_in resolve(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
    struct sockaddr_in address;
    int err = getaddrinfo(host, port, &hints, &list);

    if (err != 0) {
        die(host, gai_strerror(err));
    }
    memcpy(&address, list->ai_addr, sizeof(address));
    freeaddrinfo(list);
    return address;
}

static struct sockaddr_in resolve_pair(const char *pair)
{
    char host[256];
    const char *colon = strrchr(pair, ':');

    if (colon == NULL || (size_t)(colon - pair) >= sizeof(host)) {
        die("not HOST:PORT", pair);
    }
    memcpy(host, pair, (size_t)(colon - pair));
    host[colon - pair] = '\0';
    return resolve(host, colon + 1);
}

static void map_expected(struct load_plan *plan, const char *file)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    void *map;

    if (fd < 0 || fstat(fd, &st) < 0) {
        die(file, strerror(errno));
    }
    plan->expect_len = (size_t)st.st_size;
    map = mmap(NULL, plan->expect_len + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        die(file, strerror(errno));
    }
    plan->expect = map;
    close(fd);
}

static double number(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || value < 0) {
        die("not a number", text);
    }
    return value;
}

enum { OPT_ECHO = 256, OPT_HTTP, OPT_EXPECT, OPT_STORM, OPT_WARM, OPT_PER, OPT_ACTIVE, OPT_HOLD,
       OPT_READY, OPT_STALL, OPT_CONNECTING, OPT_TLS, OPT_TLS12, OPT_RESUME, OPT_REKEY, OPT_SOCKS5,
       OPT_PROXY, OPT_CLOSE, OPT_HALF, OPT_TIMEOUT, OPT_PID, OPT_HELP };

static const struct option options[] = {
    {"echo", no_argument, NULL, OPT_ECHO},
    {"http", required_argument, NULL, OPT_HTTP},
    {"expect", required_argument, NULL, OPT_EXPECT},
    {"storm", no_argument, NULL, OPT_STORM},
    {"warm", required_argument, NULL, OPT_WARM},
    {"per-connection", required_argument, NULL, OPT_PER},
    {"active", required_argument, NULL, OPT_ACTIVE},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"ready", required_argument, NULL, OPT_READY},
    {"stall", required_argument, NULL, OPT_STALL},
    {"connecting", required_argument, NULL, OPT_CONNECTING},
    {"tls", no_argument, NULL, OPT_TLS},
    {"tls12", no_argument, NULL, OPT_TLS12},
    {"rekey", no_argument, NULL, OPT_REKEY},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"socks5", required_argument, NULL, OPT_SOCKS5},
    {"proxy", required_argument, NULL, OPT_PROXY},
    {"ask-close", no_argument, NULL, OPT_CLOSE},
    {"half-close", no_argument, NULL, OPT_HALF},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"server-pid", required_argument, NULL, OPT_PID},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static void read_option(struct load_plan *plan, int option)
{
    switch (option) {
    case 'c': plan->connections = (unsigned)number(optarg); break;
    case 'n': plan->requests = (uint64_t)number(optarg); break;
    case 's': plan->size = (size_t)number(optarg); break;
    case 't': plan->seconds = number(optarg); break;
    case OPT_ECHO: break;
    case OPT_HTTP: plan->path = optarg; break;
    case OPT_EXPECT: map_expected(plan, optarg); break;
    case OPT_STORM: plan->mode = LOAD_STORM; break;
    case OPT_WARM: plan->warm = number(optarg); break;
    case OPT_PER: plan->per_connection = (uint64_t)number(optarg); break;
    case OPT_ACTIVE: plan->active = (unsigned)number(optarg); break;
    case OPT_HOLD: plan->hold = number(optarg); break;
    case OPT_READY: plan->ready = optarg; break;
    case OPT_STALL: plan->stalled = (unsigned)number(optarg); break;
    case OPT_CONNECTING: plan->connecting = (unsigned)number(optarg); break;
    case OPT_TLS: plan->tls = true; break;
    case OPT_TLS12: plan->tls = plan->tls12 = true; break;
    case OPT_REKEY: plan->rekey = true; break;
    case OPT_RESUME: plan->resume = true; break;
    case OPT_SOCKS5: plan->socks5 = true; plan->dial = resolve_pair(optarg); break;
    case OPT_PROXY: plan->http_proxy = true; plan->dial = resolve_pair(optarg); break;
    case OPT_CLOSE: plan->ask_close = true; break;
    case OPT_HALF: plan->half_close = true; break;
    case OPT_TIMEOUT: plan->timeout = number(optarg); break;
    case OPT_PID: plan->server_pid = (int)number(optarg); break;
    case OPT_HELP: fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(2);
    }
}

static struct load_plan read_options(int argc, char **argv)
{
    struct load_plan plan = {.connections = 1, .size = 64, .timeout = 30, .connecting = 64};
    int option;

    while ((option = getopt_long(argc, argv, "c:n:s:t:", options, NULL)) != -1) {
        read_option(&plan, option);
    }
    if (argc - optind != 2) {
        fputs(usage, stderr);
        exit(2);
    }
    if (plan.ready != NULL && (plan.mode == LOAD_STORM || plan.per_connection != 0)) {
        die("only connections that stay are waited for", "--ready");
    }
    plan.host = argv[optind];
    plan.port = (int)number(argv[optind + 1]);
    plan.target = resolve(argv[optind], argv[optind + 1]);
    if (plan.dial.sin_family == 0) {
        plan.dial = plan.target;
    }
    if (plan.path != NULL && plan.mode == LOAD_ECHO) {
        plan.mode = LOAD_HTTP;
    }
    if (plan.requests == 0) {
        plan.requests = plan.seconds > 0 ? UINT64_MAX : plan.connections;
    }
    if (plan.per_connection == 0) {
        plan.per_connection = UINT64_MAX;
    }
    if (plan.connections == 0 || plan.connecting == 0 || plan.size == 0) {
        die("must not be 0", "-c, -s and --connecting");
    }
    return plan;
}

/* Room for the descriptors; the hard limit rises too where we may. */
static void raise_descriptor_limit(unsigned need)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= need) {
        return;
    }
    if (limit.rlim_max < need) {
        struct rlimit more = {.rlim_cur = need, .rlim_max = need};

        if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
            return;
        }
        fprintf(stderr, "load: needs %u descriptors, may have %llu\n", need,
                (unsigned long long)limit.rlim_max);
        exit(2);
    }
    limit.rlim_cur = need;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * (double)SECOND);
}

/* Slots that are closed get a new connection while the budget and the connecting limit allow. */
static void refill(struct load_run *run, struct connection *slots)
{
    const struct load_plan *plan = run->plan;
    static unsigned next;

    for (unsigned i = 0; i < plan->connections && run->connecting < plan->connecting; i++) {
        struct connection *c = &slots[next];

        next = (next + 1) % plan->connections;
        if (c->state != CONN_CLOSED || (run->holding && c->served)) {
            continue;
        }
        if (!connection_take_ticket(run)) {
            return;
        }
        connection_open(run, c);
        if (run->failures_in_a_row > GIVE_UP_AFTER) {
            return;
        }
    }
}

static void expire(struct load_run *run, struct connection *slots, uint64_t now)
{
    const struct load_plan *plan = run->plan;
    uint64_t limit = ns_of(plan->timeout);

    for (unsigned i = 0; i < plan->connections; i++) {
        struct connection *c = &slots[i];

        if (c->state == CONN_CLOSED || c->state == CONN_RESTING || now < c->since ||
            now - c->since < limit) {
            continue;
        }
        connection_fail(run, c, "timed out");
    }
}

static void turn(struct load_run *run, struct connection *slots, int milliseconds)
{
    struct epoll_event events[512];
    static uint64_t last_expiry;
    int n;

    if (run->open < run->plan->connections + run->plan->stalled && !run->stop) {
        refill(run, slots);
    }
    n = epoll_wait(run->epoll, events, 512, milliseconds);
    for (int i = 0; i < n; i++) {
        connection_advance(run, events[i].data.ptr);
    }
    if (load_now() - last_expiry > SECOND / 4) {
        last_expiry = load_now();
        expire(run, slots, last_expiry);
    }
}

/* Nothing more will happen: no request is left to hand out and none is on its way. */
static bool exhausted(const struct load_run *run)
{
    return run->failures_in_a_row > GIVE_UP_AFTER ||
           (run->issued >= run->plan->requests && run->open - run->resting <= run->plan->stalled);
}

/* Until the deadline, or (unless `pausing`) until nothing is left to do. */
static void run_until(struct load_run *run, struct connection *slots, uint64_t deadline, bool pausing)
{
    uint64_t now;

    while ((now = load_now()) < deadline && (pausing || !exhausted(run))) {
        uint64_t left = (deadline - now) / 1000000 + 1;

        turn(run, slots, left < 50 ? (int)left : 50);
    }
}

/* Open all, one answer each, and let them rest. */
static void ramp(struct load_run *run, struct connection *slots)
{
    run->holding = true;
    while (run->served < run->plan->connections && !exhausted(run) &&
           run->tally.failed < run->plan->connections) {
        turn(run, slots, 50);
    }
}

static void say_ready(const char *file)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0) {
        die(file, strerror(errno));
    }
    close(fd);
}

static void wake_resting(struct load_run *run, struct connection *slots)
{
    for (unsigned i = 0; i < run->plan->connections; i++) {
        if (slots[i].state == CONN_RESTING) {
            connection_next(run, &slots[i]);
            if (slots[i].state == CONN_BUSY) {
                connection_advance(run, &slots[i]);
            }
        }
    }
}

static void report(const struct load_run *run, uint64_t answered, uint64_t ns, uint64_t cpu,
                   unsigned open_at_peak)
{
    const struct load_tally *t = &run->tally;
    uint64_t done = run->plan->mode == LOAD_STORM ? t->storms : answered;

    printf("answered=%llu\nfailed=%llu\nconnects=%llu\nresumed=%llu\nrekeyed=%llu\nstorms=%llu\n",
           (unsigned long long)t->answered, (unsigned long long)t->failed,
           (unsigned long long)t->connects, (unsigned long long)t->resumed,
           (unsigned long long)t->rekeyed, (unsigned long long)t->storms);
    printf("unclean_closes=%llu\nopen_at_peak=%u\nmeasured=%llu\nseconds=%.3f\nrate=%.1f\n",
           (unsigned long long)t->unclean_closes, open_at_peak, (unsigned long long)done,
           (double)ns / 1e9, ns > 0 ? (double)done * 1e9 / (double)ns : 0.0);
    printf("mbytes_per_s=%.2f\np50_us=%.1f\np99_us=%.1f\nmax_us=%.1f\n",
           ns > 0 ? (double)t->bytes * 1e3 / (double)ns : 0.0,
           (double)tally_quantile(t, 0.5) / 1e3, (double)tally_quantile(t, 0.99) / 1e3,
           (double)t->latency_max / 1e3);
    if (run->plan->server_pid != 0) {
        printf("server_cpu_ms=%.3f\nserver_us_per_request=%.3f\n", (double)cpu / 1e6,
               done > 0 ? (double)cpu / 1e3 / (double)done : 0.0);
    }
    for (unsigned i = 0; i < t->kind_count; i++) {
        printf("error=%llu %s\n", (unsigned long long)t->kinds[i].count, t->kinds[i].text);
    }
}

int main(int argc, char **argv)
{
    struct load_plan plan = read_options(argc, argv);
    struct load_run run = {.plan = &plan};
    unsigned all = plan.connections + plan.stalled, peak;
    struct connection *slots = calloc(all, sizeof(*slots));
    uint64_t began, ended, answered, cpu;
    bool gather = plan.mode != LOAD_STORM && plan.per_connection == UINT64_MAX;

    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit(all + 32);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (slots == NULL || run.epoll < 0) {
        die("cannot start", strerror(errno));
    }
    for (unsigned i = 0; i < all; i++) {
        slots[i].fd = -1;
        slots[i].number = i;
    }
    if (plan.tls) {
        run.tls = tls_context(&run);
        if (run.tls == NULL) {
            die("TLS", "no context");
        }
    }
    connection_prepare(&run);
    for (unsigned i = plan.connections; i < all; i++) {
        connection_open(&run, &slots[i]);
    }

    began = load_now();
    answered = 0;
    cpu = server_cpu(plan.server_pid);
    if (gather) {
        ramp(&run, slots);
    }
    peak = run.open;
    if (plan.ready != NULL && run.served == plan.connections) {
        say_ready(plan.ready);
    }
    if (plan.hold > 0) {
        uint64_t pause = load_now();

        run_until(&run, slots, pause + ns_of(plan.hold), true);
        peak = run.open;
        began += load_now() - pause; /* the rest is no part of the throughput */
    }
    run.holding = false;
    wake_resting(&run, slots);
    if (plan.seconds > 0) {
        run_until(&run, slots, load_now() + ns_of(plan.warm), false);
        tally_reset_measures(&run.tally);
        began = load_now();
        answered = run.tally.answered;
        cpu = server_cpu(plan.server_pid);
        run_until(&run, slots, began + ns_of(plan.seconds), false);
    } else {
        run_until(&run, slots, UINT64_MAX, false);
    }
    ended = load_now();
    answered = run.tally.answered - answered;
    cpu = server_cpu(plan.server_pid) - cpu;

    run.stop = true; /* what is out may come back; nothing new goes out */
    wake_resting(&run, slots);
    while (run.open > plan.stalled && load_now() < ended + ns_of(plan.timeout) + SECOND &&
           run.failures_in_a_row <= GIVE_UP_AFTER) {
        turn(&run, slots, 50);
    }
    report(&run, answered, ended - began, cpu, peak - plan.stalled);
    if (plan.mode == LOAD_STORM) { /* a server may turn away whom it likes in a storm, but must live */
        return run.failures_in_a_row > GIVE_UP_AFTER || run.tally.storms == 0;
    }
    if (run.tally.failed > 0 || (run.tally.answered == 0 && run.tally.storms == 0)) {
        return 1;
    }
    return 0;
}
