#include "hub/debug/dump.h"

#include <fcntl.h>
#include <signal.h>

#include "coro/sys.h"
#include "hub/debug/capture.h"
#include "hub/debug/describe.h"
#include "hub/debug/modules.h"
#include "hub/debug/report.h"
#include "hub/debug/symbols.h"
#include "gen/real.h"
#include "preload/config.h"

enum { SLICE = 32, HUBS_SHOWN = 256 };

/* ---- What is written -------------------------------------------------------------------------- */

static void dump_head(struct put *p)
{
    char name[17] = "?";
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        long n = sys_3(SYS_read, fd, name, sizeof name - 1);
        sys_1(SYS_close, fd);
        name[n > 0 ? n - 1 : 0] = 0; /* a newline ends it */
    }
    put_text(p, "libgreen: ");
    put_name(p, name);
    put_char(p, '[');
    put_number(p, (uint64_t)sys_0(SYS_getpid));
    put_text(p, "]: ");
    if (!hub_started()) {
        put_text(p, "no green threads yet\n");
        return;
    }
    put_number(p, green_count());
    put_text(p, " green threads\n");
}

static void dump_hub(struct put *p, unsigned index, const struct hub_look *h, int64_t now)
{
    put_text(p, "hub ");
    put_number(p, index);
    put_text(p, " on thread ");
    put_number(p, (uint64_t)h->os_thread);
    put_text(p, h->asleep ? ": asleep" : h->current ? ": runs " : ": itself");
    if (!h->asleep && h->current) {
        struct green_look l;
        look_at(h->current, &l);
        put_number(p, l.id);
    }
    put_text(p, ", ");
    put_number(p, h->runnable);
    put_text(p, " runnable, ");
    put_number(p, h->timers);
    put_text(p, " timers");
    if (h->next_deadline != DEADLINE_NEVER) {
        put_text(p, h->next_deadline < now ? ", the next overdue by " : ", the next in ");
        put_seconds(p, h->next_deadline < now ? now - h->next_deadline : h->next_deadline - now, 3);
        put_text(p, " s");
    }
    put_text(p, ", ");
    put_number(p, h->switches);
    put_text(p, " switches\n");
}

void dump_write(struct put *p)
{
    static struct green_look looks[SLICE];
    struct hub_look h;
    int64_t now = clock_now();
    bool locked, first = true;
    dump_head(p);
    for (unsigned i = 0; i < HUBS_SHOWN && hub_look_at(i, &h); i++)
        dump_hub(p, i, &h, now);
    size_t n;
    while (!p->failed && (n = green_slice(LOOK_REPORT, looks, SLICE, first, &locked))) {
        if (first)
            describe_heading(p);
        first = false;
        if (!locked)
            put_text(p, "(the list of threads is locked by somebody; read without)\n");
        for (size_t i = 0; i < n; i++) {
            describe_line(p, &looks[i], now);
            describe_stack(p, &looks[i], "        ");
        }
    }
}

/* ---- When the signal comes --------------------------------------------------------------------- */

static void dump_report(void *unused)
{
    static struct put p;
    int fd = 2;
    (void)unused;
    if (config.dump_file[0])
        fd = (int)sys_4(SYS_openat, AT_FDCWD, config.dump_file,
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd < 0) {
        static const char text[] = "libgreen: the file of --dump-file cannot be opened; "
                                   "the list follows here\n";
        fd = 2;
        sys_3(SYS_write, fd, text, sizeof text - 1);
    }
    put_start(&p, fd);
    report_begin();
    dump_write(&p);
    put_flush(&p);
}

static void dump_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    if (atomic_load(&green_tls.own) == OWN_VFORK || capture_signalled(info, context))
        return;
    report_run(dump_report, NULL, false); /* while one is being written, another is dropped */
}

void dump_start(void)
{
    if (!config.dump_signal)
        return;
    struct sigaction act = {.sa_sigaction = dump_handler,
                            .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    real.sigaction(config.dump_signal, &act, NULL);
    hub_leave_open(config.dump_signal);
    capture_start(config.dump_signal, &act);
}
