#include "hub/debug/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "coro/sys.h"
#include "hub/debug/answer.h"
#include "hub/debug/put.h"
#include "hub/debug/report.h"
#include "hub/debug/trace.h"
#include "hub/hub.h"
#include "preload/config.h"

enum { CONTROL_STACK = 128 * 1024, ASK_MS = 2000, SEND_MS = 10000, BUSY_MS = 2000 };

/* Written by whoever set control_open; the path is read at exit. */
static _Atomic bool control_open;
static bool control_forked;
static int control_fd = -1;
static _Atomic bool control_named;
static struct sockaddr_un control_name = {.sun_family = AF_UNIX};

/* ---- Opening ----------------------------------------------------------------------------------- */

static void control_refuse(const char *why, long error)
{
    static struct put p;
    put_start(&p, 2);
    put_text(&p, "libgreen: the control socket ");
    put_name(&p, control_name.sun_path);
    put_text(&p, why);
    if (error) {
        put_text(&p, " (errno ");
        put_number(&p, (uint64_t)-error);
        put_char(&p, ')');
    }
    put_text(&p, "\nlibgreen: the program goes on without it; name another place: --control=PATH\n");
    put_flush(&p);
}

/* The directory of a user's sockets: made if it is not there; false when somebody else could put
 * things into it. */
static bool control_directory(const char *path)
{
    struct stat st;
    long made = sys_3(SYS_mkdirat, AT_FDCWD, path, 0700);
    if (made && made != -EEXIST) {
        control_refuse(": its directory cannot be made", made);
        return false;
    }
    if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
        st.st_uid != (uid_t)sys_0(SYS_geteuid) || (st.st_mode & 077)) {
        control_refuse(": its directory is not a directory of this user's alone", 0);
        return false;
    }
    return true;
}

/* $XDG_RUNTIME_DIR/libgreen/PID, else /tmp/libgreen-UID/PID; in `directory` without the last part.
 * A longer one than fits is left out. */
static bool control_default_path(char *directory)
{
    static struct put p;
    put_start(&p, -1);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/') {
        put_text(&p, runtime);
        put_text(&p, "/libgreen");
    } else {
        put_text(&p, "/tmp/libgreen-");
        put_number(&p, (uint64_t)sys_0(SYS_geteuid));
    }
    size_t length = p.used;
    put_char(&p, '/');
    put_number(&p, (uint64_t)sys_0(SYS_getpid));
    if (p.used >= sizeof control_name.sun_path)
        return false;
    memcpy(directory, p.text, length);
    directory[length] = 0;
    memcpy(control_name.sun_path, p.text, p.used);
    control_name.sun_path[p.used] = 0;
    return true;
}

static bool control_path(void)
{
    char directory[sizeof control_name.sun_path];
    if (strcmp(config.control, "1") != 0) {
        size_t n = strlen(config.control);
        memcpy(control_name.sun_path, config.control,
               n < sizeof control_name.sun_path ? n : sizeof control_name.sun_path - 1);
        if (n < sizeof control_name.sun_path)
            return true;
        control_refuse(" ...: the path is too long for a socket", 0);
        return false;
    }
    if (!control_default_path(directory)) {
        control_refuse(": the path is too long for a socket", 0);
        return false;
    }
    if (!control_directory(directory))
        return false;
    /* What a former process with this id left behind; only this user can have put it there. */
    sys_3(SYS_unlinkat, AT_FDCWD, control_name.sun_path, 0);
    return true;
}

static bool control_listen(void)
{
    if (!control_path())
        return false;
    int fd = (int)sys_3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        control_refuse(" cannot be made", fd);
        return false;
    }
    fd = fd_make_private(fd);
    sys_2(SYS_fchmod, fd, 0600); /* the name gets this mode, less the umask */
    long error = sys_3(SYS_bind, fd, &control_name, sizeof control_name);
    if (!error)
        error = sys_2(SYS_listen, fd, 16);
    if (error) {
        control_refuse(error == -EADDRINUSE ? ": there is something of that name already"
                                            : " cannot be made there", error);
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
        return false;
    }
    control_fd = fd;
    atomic_store(&control_named, true);
    return true;
}

/* ---- Serving ----------------------------------------------------------------------------------- */

static bool control_wait(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    return sys_5(SYS_ppoll, &p, 1, ms < 0 ? NULL : &ts, NULL, 0) > 0;
}

static bool control_may_ask(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return sys_5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == (uid_t)sys_0(SYS_geteuid));
}

/* One line, without its end; false when none came in time, or it is too long. */
static bool control_read(int fd, char *line, size_t room)
{
    size_t n = 0;
    while (n < room && control_wait(fd, POLLIN, ASK_MS)) {
        long got = sys_3(SYS_read, fd, line + n, room - n);
        if (got == -EINTR || got == -EAGAIN)
            continue;
        if (got <= 0)
            return false;
        char *end = memchr(line + n, '\n', (size_t)got);
        n += (size_t)got;
        if (end) {
            *end = 0;
            return true;
        }
    }
    return false;
}

static void control_send(int fd, const char *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        if (!control_wait(fd, POLLOUT, SEND_MS))
            return;
        long sent = sys_6(SYS_sendto, fd, bytes + done, n - done, MSG_NOSIGNAL, 0, 0);
        if (sent < 0 && sent != -EINTR && sent != -EAGAIN)
            return;
        done += sent > 0 ? (size_t)sent : 0;
    }
}

/* The answer is made by a reporter, which holds copies of the program's descriptors: so it writes to
 * memory, and a peer that reads slowly keeps only this thread waiting. */
static void control_answer(int fd, const char *line)
{
    static char text[16384];
    static const char busy[] = "error: another report is being made\n";
    int memory = (int)sys_2(SYS_memfd_create, "green-control", MFD_CLOEXEC);
    if (memory < 0) {
        static const char none[] = "error: no descriptor or no memory\n";
        control_send(fd, none, sizeof none - 1);
        return;
    }
    memory = fd_make_private(memory);
    struct answer a = {.fd = memory, .line = line};
    bool made = report_run_within(BUSY_MS, answer_report, &a);
    if (!made)
        control_send(fd, busy, sizeof busy - 1);
    long n;
    for (int64_t at = 0; made && (n = sys_4(SYS_pread64, memory, text, sizeof text, at)) > 0; at += n)
        control_send(fd, text, (size_t)n);
    fd_private_closed(memory);
    sys_1(SYS_close, memory);
    if (made && a.act)
        a.act(&a);
}

static void control_serve(int fd)
{
    static const char who[] = "error: the process belongs to another user\n";
    static const char what[] = "error: one line of at most 255 bytes is wanted\n";
    char line[256];
    if (!control_may_ask(fd))
        control_send(fd, who, sizeof who - 1);
    else if (!control_read(fd, line, sizeof line))
        control_send(fd, what, sizeof what - 1);
    else if (strncmp(line, "log ", 4) != 0 || trace_ready())
        control_answer(fd, line);
}

static void *control_main(void *unused)
{
    (void)unused;
    native_begin();
    sys_5(SYS_prctl, 15 /* PR_SET_NAME */, "green-control", 0, 0, 0);
    for (;;) {
        if (!control_wait(control_fd, POLLIN, trace_counts_time() ? 1000 : -1))
            continue;
        int fd = (int)sys_4(SYS_accept4, control_fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            struct timespec ts = {0, 50000000}; /* no descriptors, say */
            sys_2(SYS_nanosleep, &ts, 0);
            continue;
        }
        fd = fd_make_private(fd);
        control_serve(fd);
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
    }
    return NULL;
}

void control_run(void)
{
    if (atomic_exchange(&control_open, true))
        return;
    if (control_forked && strcmp(config.control, "1") != 0)
        return; /* the name is the parent's */
    if (control_listen() && native_thread(control_main, NULL, CONTROL_STACK)) {
        control_exit();
        control_refuse(": no thread can be made to serve it", 0);
    }
}

void control_exit(void)
{
    if (atomic_exchange(&control_named, false))
        sys_3(SYS_unlinkat, AT_FDCWD, control_name.sun_path, 0);
}

void control_fork(void)
{
    atomic_store(&control_open, false);
    atomic_store(&control_named, false);
    control_fd = -1;
    control_forked = true;
}
