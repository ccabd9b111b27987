/* greenctl: look at the green threads of running programs, and report on traces. */
#include "greenctl.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef GREEN_VERSION
#define GREEN_VERSION "unknown"
#endif

enum { PATIENCE_MS = 30000, LINE_MAX_BYTES = 254 };

void greenctl_no(int code, const char *hint, const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("greenctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nhint: %s\n", hint);
    exit(code);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* A socket that somebody else put there could tell us anything. */
static bool greenctl_is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0 || geteuid() == 0);
}

static char *greenctl_read(int fd, size_t *length)
{
    size_t used = 0, room = 65536;
    char *text = malloc(room);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (text && poll(&p, 1, PATIENCE_MS) > 0) {
        ssize_t n = read(fd, text + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            text[used] = 0;
            *length = used;
            return n < 0 && used == 0 ? (free(text), NULL) : text;
        }
        used += (size_t)n;
        if (used + 1 == room) {
            char *more = realloc(text, room *= 2);
            if (!more)
                free(text);
            text = more;
        }
    }
    free(text);
    return NULL;
}

char *greenctl_ask(const char *path, const char *line, size_t *length)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char text[LINE_MAX_BYTES + 2];
    if (strlen(path) >= sizeof name.sun_path || strlen(line) > LINE_MAX_BYTES)
        return NULL;
    memcpy(name.sun_path, path, strlen(path) + 1);
    int n = snprintf(text, sizeof text, "%s\n", line);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    char *answer = NULL;
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0 && greenctl_is_ours(fd) &&
        send(fd, text, (size_t)n, MSG_NOSIGNAL) == n)
        answer = greenctl_read(fd, length);
    close(fd);
    return answer;
}

/* ---- Which process --------------------------------------------------------------------------- */

/* The place of a user's sockets that have no path of their own: below $XDG_RUNTIME_DIR, or in
 * /tmp. */
struct place {
    char path[256];
    uid_t uid;
};

static bool place_runtime(struct place *p, const char *directory, uid_t uid)
{
    p->uid = uid;
    return directory && directory[0] == '/' &&
           snprintf(p->path, sizeof p->path, "%s/libgreen", directory) < (int)sizeof p->path;
}

static void place_tmp(struct place *p, uid_t uid)
{
    p->uid = uid;
    snprintf(p->path, sizeof p->path, "/tmp/libgreen-%u", (unsigned)uid);
}

/* Somebody else could have made it. */
static bool place_is_theirs(const struct place *p)
{
    struct stat st;
    return lstat(p->path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == p->uid;
}

static bool greenctl_is_pid(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isdigit((unsigned char)*c))
            return false;
    return *text != 0;
}

/* The program's name, "" when it cannot be told. */
static void greenctl_name(const char *pid, char *name, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    name[0] = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(name, (int)room, file))
        name[strcspn(name, "\n")] = 0;
    fclose(file);
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* A process that was killed leaves its socket. */
static bool greenctl_is_gone(const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s", pid);
    return access(path, F_OK) != 0;
}

/* Prints the processes that have a socket there; `found` counts them. */
static void greenctl_list_place(const struct place *p, int *found)
{
    char path[600], name[64];
    DIR *dir = place_is_theirs(p) ? opendir(p->path) : NULL;
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        size_t length;
        snprintf(path, sizeof path, "%s/%s", p->path, entry->d_name);
        if (!greenctl_is_pid(entry->d_name))
            continue;
        char *answer = greenctl_ask(path, "stats", &length);
        if (!answer) {
            if (greenctl_is_gone(entry->d_name))
                unlink(path);
            continue;
        }
        const char *alive = strstr(answer, "\nalive ");
        greenctl_name(entry->d_name, name, sizeof name);
        if ((*found)++ == 0)
            printf("%8s  %-16s %s\n", "pid", "name", "green threads");
        printf("%8s  %-16s %ld\n", entry->d_name, name, alive ? atol(alive + 7) : 0L);
        free(answer);
    }
    if (dir)
        closedir(dir);
}

/* Those of this user; root's are everybody's. */
static int greenctl_list(void)
{
    int found = 0;
    struct place p;
    if (place_runtime(&p, getenv("XDG_RUNTIME_DIR"), geteuid()))
        greenctl_list_place(&p, &found);
    place_tmp(&p, geteuid());
    greenctl_list_place(&p, &found);
    DIR *tmp = geteuid() == 0 ? opendir("/tmp") : NULL;
    struct dirent *entry;
    while (tmp && (entry = readdir(tmp))) {
        if (strncmp(entry->d_name, "libgreen-", 9) != 0 || !greenctl_is_pid(entry->d_name + 9) ||
            atol(entry->d_name + 9) == 0)
            continue;
        place_tmp(&p, (uid_t)atol(entry->d_name + 9));
        greenctl_list_place(&p, &found);
    }
    if (tmp)
        closedir(tmp);
    if (!found)
        greenctl_no(1, "start one with eventlet-run --control",
                    "no process of this user can be looked at");
    return 0;
}

/* Its effective user; ours when that cannot be told. (The owner of /proc/PID is root for a
 * process that changed its user.) */
static uid_t greenctl_user_of(const char *pid)
{
    char path[64], line[256];
    unsigned uid = (unsigned)geteuid();
    snprintf(path, sizeof path, "/proc/%.20s/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Uid: %*u %u", &uid) == 1)
            break;
    if (file)
        fclose(file);
    return (uid_t)uid;
}

/* What $XDG_RUNTIME_DIR is for that process, as far as we may know. */
static char *greenctl_runtime_of(const char *pid)
{
    static const char wanted[] = "XDG_RUNTIME_DIR=";
    char path[64], *entry = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    FILE *file = fopen(path, "re");
    while (file && getdelim(&entry, &room, 0, file) > 0)
        if (strncmp(entry, wanted, sizeof wanted - 1) == 0) {
            fclose(file);
            memmove(entry, entry + sizeof wanted - 1, strlen(entry) + 2 - sizeof wanted);
            return entry;
        }
    if (file)
        fclose(file);
    free(entry);
    return NULL;
}

static bool greenctl_socket_at(const struct place *p, const char *pid, char *path, size_t room)
{
    struct stat st;
    snprintf(path, room, "%s/%s", p->path, pid);
    return place_is_theirs(p) && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The path of the socket that the argument means. */
static void greenctl_find(const char *which, char *path, size_t room)
{
    struct place p;
    if (!greenctl_is_pid(which)) {
        snprintf(path, room, "%s", which);
        return;
    }
    uid_t uid = greenctl_user_of(which);
    char *runtime = greenctl_runtime_of(which);
    bool found = (place_runtime(&p, getenv("XDG_RUNTIME_DIR"), geteuid()) &&
                  greenctl_socket_at(&p, which, path, room)) ||
                 (place_runtime(&p, runtime, uid) && greenctl_socket_at(&p, which, path, room));
    free(runtime);
    place_tmp(&p, uid);
    found = found || greenctl_socket_at(&p, which, path, room);
    place_tmp(&p, geteuid()); /* it may have been root when it made the socket */
    if (found || greenctl_socket_at(&p, which, path, room))
        return;
    greenctl_no(1, "start it with eventlet-run --control; greenctl alone lists processes",
                "process %s has no control socket of this user's", which);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static const char usage[] =
    "Usage: greenctl                       list this user's processes that can be looked at\n"
    "       greenctl PID|PATH COMMAND      ask the process, or the socket at PATH\n"
    "       greenctl report FILE           a trace as a page of HTML, on standard output\n"
    "       greenctl convert FILE          the trace of a killed program as JSON, on standard output\n"
    "\n"
    "Commands:\n"
    "  ps            every green thread: id, name, state, what it waits for and since when\n"
    "  bt ID|all     its stack\n"
    "  fds           descriptors that are waited for, and by whom\n"
    "  timers        deadlines of those who wait\n"
    "  locks         locks that are waited for, by whom they are held, and for how long\n"
    "  stats         counters\n"
    "  top           a view that refreshes: s sorts by switches, r by run time, w by wait; q ends\n"
    "  trace on|off  record into the file of --trace, or pause\n"
    "  cancel ID     cancel a green thread, as pthread_cancel(3) does\n"
    "  log LEVEL     lines on the program's stderr: off, threads, all\n"
    "  help, version\n";

static const char hint[] = "greenctl help tells more";

static int greenctl_command(const char *path, char **words)
{
    static const char *const names[] = {"ps", "bt", "fds", "timers", "locks", "stats", "trace",
                                        "cancel", "log"};
    static const int takes[] = {0, 1, 0, 0, 0, 0, 1, 1, 1};
    char line[LINE_MAX_BYTES + 1];
    size_t i = 0, length;
    while (i < sizeof names / sizeof *names && strcmp(names[i], words[0]) != 0)
        i++;
    if (i == sizeof names / sizeof *names)
        greenctl_no(2, hint, "%s: no such command", words[0]);
    if ((takes[i] && !words[1]) || words[1 + takes[i]])
        greenctl_no(2, hint, "%s takes %s", words[0], takes[i] ? "one argument" : "no argument");
    if (snprintf(line, sizeof line, "%s%s%s", words[0], words[1] ? " " : "",
                 words[1] ? words[1] : "") >= (int)sizeof line ||
        strchr(line, '\n'))
        greenctl_no(2, hint, "the argument is too long, or has a line's end in it");
    char *answer = greenctl_ask(path, line, &length);
    if (!answer)
        greenctl_no(1, "does the program run, under this user, with --control?",
                    "%s: nobody answers there", path);
    if (strncmp(answer, "ok\n", 3) != 0) {
        const char *why = strncmp(answer, "error: ", 7) == 0 ? answer + 7 : "no answer came";
        greenctl_no(1, hint, "%.*s", (int)strcspn(why, "\n"), why);
    }
    fwrite(answer + 3, 1, length - 3, stdout);
    free(answer);
    if (fflush(stdout) || ferror(stdout))
        greenctl_no(1, "is the disk full?", "cannot write: %s", strerror(errno));
    return 0;
}

int main(int argc, char **argv)
{
    char path[512];
    if (argc == 1)
        return greenctl_list();
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)
        return printf("greenctl %s\n", GREEN_VERSION) < 0;
    if (strcmp(argv[1], "report") == 0 || strcmp(argv[1], "convert") == 0) {
        if (argc != 3)
            greenctl_no(2, hint, "%s takes one file", argv[1]);
        return argv[1][0] == 'r' ? greenctl_report(argv[2]) : greenctl_convert(argv[2]);
    }
    if (argc < 3)
        greenctl_no(2, hint, "%s: what about it?", argv[1]);
    greenctl_find(argv[1], path, sizeof path);
    if (strcmp(argv[2], "top") == 0 && argc == 3)
        return greenctl_top(path);
    return greenctl_command(path, argv + 2);
}
