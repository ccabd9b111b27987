/* warden: runs one program, watches what it and its descendants weigh, stops it as an administrator
 * would, and reports. A terminating signal to the warden is the administrator's stop. It is the
 * reaper of whatever the program leaves behind, so nothing outlives it.
 *
 * The report, KEY=VALUE lines: status (exit code, or 128 + signal), stop_ms (from the stop to the
 * end), killed (1: it did not end by itself within the limit), left (names of processes that
 * outlived it), cpu_ms, processes_peak, threads_peak, fds_peak, and at the moment of the largest sum user_kb,
 * kernel_stack_kb, page_table_kb, total_kb. `warden --once PID` prints the present footprint. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "footprint.h"

#define LIGHT_INTERVAL_MS 20
#define HEAVY_EVERY 10 /* light samples to one that reads the mappings */
#define TREE_ROOM 512
#define ORPHANS_MS 1500

static const char usage[] =
    "usage: warden [--report FILE] [--pid FILE] [--out FILE] [--err FILE] [--limit SECONDS]\n"
    "              [--stop-limit SECONDS] [--signal NUMBER] -- COMMAND [ARGUMENT...]\n"
    "       warden --once PID\n";

struct warden {
    const char *report, *out, *err, *pid;
    double limit, stop_limit; /* seconds; 0: none */
    int stop_signal;
    pid_t child;
    pid_t tree[TREE_ROOM];
    size_t tree_count;
    struct footprint peak; /* where the memory was largest */
    long threads_peak, fds_peak, processes_peak;
    bool ended, killed;
    int wait_status;
    struct rusage usage;
    char left[512];
};

static double warden_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void warden_redirect(const char *file, int fd)
{
    int opened;

    if (file == NULL) {
        return;
    }
    opened = open(file, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (opened < 0 || dup2(opened, fd) < 0) {
        fprintf(stderr, "warden: %s: %s\n", file, strerror(errno));
        _exit(127);
    }
    close(opened);
}

static void warden_start(struct warden *w, char **command, const sigset_t *mask_before)
{
    pid_t self = getpid();

    w->child = fork();
    if (w->child < 0) {
        perror("warden: fork");
        exit(125);
    }
    if (w->child > 0) {
        FILE *f = w->pid != NULL ? fopen(w->pid, "we") : NULL;

        if (f != NULL) {
            fprintf(f, "%d\n", (int)w->child);
            fclose(f);
        }
        return;
    }
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self) {
        _exit(125);
    }
    if (w->out != NULL || w->err != NULL) { /* a server: no input of its own */
        int null = open("/dev/null", O_RDONLY);

        dup2(null, 0);
        close(null);
    }
    warden_redirect(w->out, 1);
    warden_redirect(w->err, 2);
    sigprocmask(SIG_SETMASK, mask_before, NULL);
    execvp(command[0], command);
    fprintf(stderr, "warden: %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

static void warden_sample(struct warden *w, bool heavy)
{
    struct footprint f = {0};

    if (heavy) {
        w->tree_count = footprint_tree(w->child, w->tree, TREE_ROOM);
    }
    for (size_t i = 0; i < w->tree_count; i++) {
        if (footprint_add_light(w->tree[i], &f) && heavy) {
            footprint_add_heavy(w->tree[i], &f);
        }
    }
    if (f.threads > w->threads_peak) {
        w->threads_peak = f.threads;
    }
    if (f.processes > w->processes_peak) {
        w->processes_peak = f.processes;
    }
    if (f.fds > w->fds_peak) {
        w->fds_peak = f.fds;
    }
    if (heavy && footprint_total_kb(&f) > footprint_total_kb(&w->peak)) {
        w->peak = f;
    }
}

static void warden_reap(struct warden *w)
{
    struct rusage usage_of;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &usage_of)) > 0) {
        if (pid == w->child) {
            w->ended = true;
            w->wait_status = status;
            w->usage = usage_of;
        }
    }
}

/* Wait for SIGCHLD or a stop, at most `ms`; returns the signal, or 0. */
static int warden_wait(const sigset_t *set, int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};
    int signal_number = sigtimedwait(set, NULL, &t);

    return signal_number > 0 ? signal_number : 0;
}

static void warden_name(pid_t pid, char *name, size_t room)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    f = fopen(path, "re");
    name[0] = '\0';
    if (f != NULL) {
        if (fgets(name, (int)room, f) != NULL) {
            name[strcspn(name, "\n")] = '\0';
        }
        fclose(f);
    }
}

/* The program has ended: whatever descends from it should end too, and soon. */
static void warden_orphans(struct warden *w, const sigset_t *set)
{
    double patience = warden_now() + ORPHANS_MS / 1e3;
    pid_t pids[TREE_ROOM];
    size_t count;

    for (;;) {
        warden_reap(w);
        count = footprint_tree(getpid(), pids, TREE_ROOM);
        if (count <= 1) {
            return;
        }
        if (warden_now() > patience) {
            break;
        }
        warden_wait(set, LIGHT_INTERVAL_MS);
    }
    for (size_t i = 1; i < count; i++) {
        char name[32];
        size_t len = strlen(w->left);

        warden_name(pids[i], name, sizeof(name));
        snprintf(w->left + len, sizeof(w->left) - len, "%s%s", len > 0 ? "," : "", name);
        kill(pids[i], SIGKILL);
    }
    warden_wait(set, 200);
    warden_reap(w);
}

static void warden_report(const struct warden *w, double stop_began, double ended)
{
    FILE *f = w->report != NULL ? fopen(w->report, "we") : stdout;
    double cpu = (double)(w->usage.ru_utime.tv_sec + w->usage.ru_stime.tv_sec) * 1e3 +
                 (double)(w->usage.ru_utime.tv_usec + w->usage.ru_stime.tv_usec) / 1e3;
    int status = WIFEXITED(w->wait_status) ? WEXITSTATUS(w->wait_status)
                                           : 128 + WTERMSIG(w->wait_status);

    if (f == NULL) {
        perror(w->report);
        return;
    }
    fprintf(f, "status=%d\nstop_ms=%.0f\nkilled=%d\nleft=%s\ncpu_ms=%.0f\n", status,
            stop_began > 0 ? (ended - stop_began) * 1e3 : 0.0, w->killed, w->left, cpu);
    fprintf(f, "processes_peak=%ld\n", w->processes_peak);
    fprintf(f, "threads_peak=%ld\nfds_peak=%ld\nuser_kb=%ld\nkernel_stack_kb=%ld\n", w->threads_peak,
            w->fds_peak, w->peak.user_kb, w->peak.kernel_stack_kb);
    fprintf(f, "page_table_kb=%ld\ntotal_kb=%ld\n", w->peak.page_table_kb,
            footprint_total_kb(&w->peak));
    if (f != stdout) {
        fclose(f);
    }
}

static int warden_once(pid_t root)
{
    struct footprint f = {0};
    pid_t pids[TREE_ROOM];
    size_t count = footprint_tree(root, pids, TREE_ROOM);

    for (size_t i = 0; i < count; i++) {
        if (footprint_add_light(pids[i], &f)) {
            footprint_add_heavy(pids[i], &f);
        }
    }
    printf("processes=%ld\nthreads=%ld\nfds=%ld\nuser_kb=%ld\nkernel_stack_kb=%ld\n"
           "page_table_kb=%ld\ntotal_kb=%ld\n",
           f.processes, f.threads, f.fds, f.user_kb, f.kernel_stack_kb, f.page_table_kb,
           footprint_total_kb(&f));
    return f.processes > 0 ? 0 : 1;
}

static char **warden_options(struct warden *w, int argc, char **argv)
{
    static const struct option options[] = {
        {"report", required_argument, NULL, 'r'},     {"out", required_argument, NULL, 'o'},
        {"err", required_argument, NULL, 'e'},        {"limit", required_argument, NULL, 'l'},
        {"stop-limit", required_argument, NULL, 's'}, {"signal", required_argument, NULL, 'k'},
        {"once", required_argument, NULL, '1'},       {"pid", required_argument, NULL, 'p'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'r': w->report = optarg; break;
        case 'o': w->out = optarg; break;
        case 'e': w->err = optarg; break;
        case 'p': w->pid = optarg; break;
        case 'l': w->limit = atof(optarg); break;
        case 's': w->stop_limit = atof(optarg); break;
        case 'k': w->stop_signal = atoi(optarg); break;
        case '1': exit(warden_once(atoi(optarg)));
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        exit(2);
    }
    return argv + optind;
}

int main(int argc, char **argv)
{
    struct warden w = {.stop_signal = SIGTERM, .stop_limit = 30};
    char **command = warden_options(&w, argc, argv);
    double began, stop_began = 0, ended, kill_at;
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &before);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    began = warden_now();
    kill_at = w.limit > 0 ? began + w.limit : 0;
    warden_start(&w, command, &before);
    for (unsigned turn = 0; !w.ended; turn++) {
        int signal_number = warden_wait(&set, LIGHT_INTERVAL_MS);

        warden_reap(&w);
        if (w.ended) {
            break;
        }
        if (signal_number == SIGHUP) {
            kill(w.child, SIGHUP);
        } else if ((signal_number == SIGTERM || signal_number == SIGINT) && stop_began <= 0) {
            stop_began = warden_now();
            kill_at = stop_began + w.stop_limit;
            kill(w.child, w.stop_signal);
        }
        if (kill_at > 0 && warden_now() > kill_at) {
            w.killed = true;
            kill(w.child, SIGKILL);
            kill_at = 0;
        }
        if (stop_began <= 0) {
            warden_sample(&w, turn % HEAVY_EVERY == 0);
        }
    }
    ended = warden_now();
    warden_orphans(&w, &set);
    warden_report(&w, stop_began, ended);
    return WIFEXITED(w.wait_status) ? WEXITSTATUS(w.wait_status) : 128 + WTERMSIG(w.wait_status);
}
