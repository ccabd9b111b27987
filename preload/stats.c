/* Figures at exit, as text or as JSON. No stdio and no memory of the program's is used: it may be
 * in any state. */
#include "stats.h"

#include <fcntl.h>
#include <stdlib.h>

#include "config.h"
#include "coro/decimal.h"
#include "coro/sys.h"
#include "hub/debug/debugging.h"
#include "dns.h"
#include "hub/hub.h"
#include "patch.h"

enum { STATS_TEXT_MAX = 32768, STATS_NAME = 16 };

static int stats_fd = 2;
static _Atomic bool stats_printed;

/* The figures when this process was forked, and whether it was. */
static struct hub_stats stats_base;
static bool stats_forked;

/* One call of write() says everything, so that processes do not mix their lines. */
struct stats_text {
    size_t used;
    char text[STATS_TEXT_MAX];
};

static struct stats_text stats_text; /* of whoever has set stats_printed */

static void stats_put(struct stats_text *to, const char *text)
{
    for (; *text && to->used + 1 < sizeof to->text; text++)
        to->text[to->used++] = *text;
}

static void stats_number(struct stats_text *to, uint64_t value)
{
    char room[DECIMAL_ROOM];
    stats_put(to, decimal(value, room));
}

/* The symbols that were called, the most called first; returns how many. */
static unsigned stats_calls(enum patch_id *ids, uint64_t *calls)
{
    unsigned count = 0;
    for (unsigned id = 0; id < PATCH_COUNT; id++) {
        uint64_t n = atomic_load_explicit(&patch_calls[id], memory_order_relaxed);
        if (!n)
            continue;
        unsigned at = count++;
        for (; at > 0 && calls[at - 1] < n; at--) {
            calls[at] = calls[at - 1];
            ids[at] = ids[at - 1];
        }
        calls[at] = n;
        ids[at] = (enum patch_id)id;
    }
    return count;
}

/* "word": value, for each figure, in one order for both forms. */
struct stats_figure {
    const char *word;
    uint64_t value;
};

static void stats_write_text(struct stats_text *to, const char *name,
                             const struct stats_figure *figures)
{
    stats_put(to, "libgreen: ");
    stats_put(to, name);
    stats_put(to, "[");
    stats_number(to, (uint64_t)sys_0(SYS_getpid));
    stats_put(to, "]:");
    for (const struct stats_figure *f = figures; f->word; f++) {
        stats_put(to, f == figures ? " " : ", ");
        stats_number(to, f->value);
        stats_put(to, " ");
        for (const char *c = f->word; *c; c++)
            stats_put(to, *c == '_' ? " " : (const char[]){*c, 0});
    }
    stats_put(to, "\n");

    enum patch_id ids[PATCH_COUNT];
    uint64_t calls[PATCH_COUNT];
    unsigned count = stats_calls(ids, calls);
    for (unsigned i = 0; i < count; i++) {
        stats_put(to, i == 0 ? "libgreen: calls: " : ", ");
        stats_put(to, patch_name[ids[i]]);
        stats_put(to, " ");
        stats_number(to, calls[i]);
    }
    stats_put(to, count ? "\n" : "");
}

/* A name of the kernel's may hold anything. */
static void stats_quoted(struct stats_text *to, const char *text)
{
    stats_put(to, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c > '~')
            stats_put(to, "?");
        else
            stats_put(to, c == '"' ? "\\\"" : c == '\\' ? "\\\\" : (const char[]){*text, 0});
    }
    stats_put(to, "\"");
}

static void stats_write_json(struct stats_text *to, const char *name,
                             const struct stats_figure *figures)
{
    stats_put(to, "{\"pid\": ");
    stats_number(to, (uint64_t)sys_0(SYS_getpid));
    stats_put(to, ", \"name\": ");
    stats_quoted(to, name);
    for (const struct stats_figure *f = figures; f->word; f++) {
        stats_put(to, ", ");
        stats_quoted(to, f->word);
        stats_put(to, ": ");
        stats_number(to, f->value);
    }
    enum patch_id ids[PATCH_COUNT];
    uint64_t calls[PATCH_COUNT];
    unsigned count = stats_calls(ids, calls);
    stats_put(to, ", \"calls\": {");
    for (unsigned i = 0; i < count; i++) {
        stats_put(to, i == 0 ? "" : ", ");
        stats_quoted(to, patch_name[ids[i]]);
        stats_put(to, ": ");
        stats_number(to, calls[i]);
    }
    stats_put(to, "}}\n");
}

/* The main OS thread's: other OS threads of libgreen have names of their own. */
static void stats_process_name(char name[STATS_NAME])
{
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);
    long length = fd < 0 ? 0 : sys_3(SYS_read, fd, name, STATS_NAME);
    if (fd >= 0)
        sys_1(SYS_close, fd);
    name[length > 0 ? length - 1 : 0] = 0; /* it ends in a newline */
}

static uint64_t stats_names(enum dns_way way)
{
    return atomic_load_explicit(&dns_counts[way], memory_order_relaxed);
}

void stats_print(void)
{
    struct hub_stats now = {0};
    if (config.stats == GREEN_STATS_OFF || atomic_exchange(&stats_printed, true))
        return;
    if (hub_started())
        hub_stats(&now);
    if (stats_forked && now.created == stats_base.created)
        return;

    char name[STATS_NAME];
    stats_process_name(name);
    const struct stats_figure figures[] = {
        {"green_threads", now.created - stats_base.created},
        {"at_most_at_once", now.peak},
        {"switches", now.switches - stats_base.switches},
        {"parks", now.parks - stats_base.parks},
        {"polls", now.polls - stats_base.polls},
        {"handoffs", now.handoffs - stats_base.handoffs},
        {"detaches", now.detaches - stats_base.detaches},
        {"rejoins", now.rejoins - stats_base.rejoins},
        {"offloads", now.offloads - stats_base.offloads},
        {"names_by_cares", stats_names(DNS_ASK)},
        {"names_offloaded", stats_names(DNS_HELPER)},
        {"names_in_place", stats_names(DNS_HERE)},
        {"OS_threads_at_most", hub_started() ? now.os_threads_peak : 1},
        {"hubs", now.hubs},
        {"alive_at_exit", now.alive},
        {NULL, 0},
    };
    if (config.stats == GREEN_STATS_JSON)
        stats_write_json(&stats_text, name, figures);
    else
        stats_write_text(&stats_text, name, figures);
    sys_3(SYS_write, stats_fd, stats_text.text, stats_text.used);
}

void stats_start(void)
{
    if (config.stats == GREEN_STATS_OFF)
        return;
    long fd = sys_3(SYS_fcntl, 2, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        stats_fd = fd_make_private((int)fd);
    at_quick_exit(stats_print);
}

void stats_after_fork(void)
{
    stats_forked = true;
    if (hub_started())
        hub_stats(&stats_base);
    stats_base.parks = stats_base.polls = stats_base.handoffs = stats_base.detaches =
        stats_base.rejoins = stats_base.switches = 0; /* the child's hub is a new one */
    patch_calls_forget();
    atomic_store(&stats_printed, false);
}

/* libgreen is the first to be initialised, and so the last to be finished. */
__attribute__((destructor)) static void stats_finish(void)
{
    debug_exit();
    stats_print();
}
