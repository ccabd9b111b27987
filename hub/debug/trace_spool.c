#include "hub/debug/trace_spool.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "coro/sys.h"
#include "hub/debug/put.h"
#include "hub/debug/trace_decode.h"
#include "hub/debug/trace_write.h"
#include "hub/hub.h"
#include "hub/tick.h"
#include "preload/config.h"

enum { PATH_ROOM = CONFIG_PATH_MAX + 48, PARTS = 256 };

/* All of the one caller. */
static int spool_file = -1;  /* FILE */
static int spool_fd = -1;    /* FILE.spool; kept open, because the program may change its user */
static int spool_older = -1; /* FILE.1.spool */
static bool spool_goes_on;   /* spool_fd is being appended to */
static uint64_t spool_used, spool_pid;
static char spool_path[PATH_ROOM];

/* ---- Names and words ------------------------------------------------------------------------- */

static void spool_say(const char *what, const char *then)
{
    static struct put p;
    put_start(&p, 2);
    put_text(&p, "libgreen: the trace ");
    put_name(&p, spool_path);
    put_text(&p, what);
    put_text(&p, "\nlibgreen: ");
    put_text(&p, then);
    put_char(&p, '\n');
    put_flush(&p);
}

/* FILE, FILE.PID, and either with `suffix`. */
static void spool_name(char path[PATH_ROOM], bool with_pid, const char *suffix)
{
    static struct put p;
    put_start(&p, -1);
    put_text(&p, config.trace);
    if (with_pid) {
        put_char(&p, '.');
        put_number(&p, (uint64_t)sys_0(SYS_getpid));
    }
    put_text(&p, suffix);
    size_t n = p.used < PATH_ROOM ? p.used : PATH_ROOM - 1;
    memcpy(path, p.text, n);
    path[n] = 0;
}

static void spool_beside(char path[PATH_ROOM], const char *suffix)
{
    spool_name(path, strcmp(spool_path, config.trace) != 0, suffix);
}

static void spool_shut(int *fd)
{
    if (*fd < 0)
        return;
    fd_private_closed(*fd);
    sys_1(SYS_close, *fd);
    *fd = -1;
}

static bool spool_put(int fd, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        long wrote = sys_3(SYS_write, fd, (const char *)bytes + done, n - done);
        if (wrote <= 0 && wrote != -4 /* EINTR */)
            return false;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* One that another process writes is left to it. */
static int spool_open_file(bool with_pid)
{
    struct stat st;
    spool_name(spool_path, with_pid, "");
    int fd = (int)sys_4(SYS_openat, AT_FDCWD, spool_path,
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return -1;
    fd = fd_make_private(fd);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        spool_shut(&fd);
    } else if (sys_2(SYS_flock, fd, LOCK_EX | LOCK_NB) && !with_pid) {
        spool_shut(&fd);
        return spool_open_file(true);
    }
    return fd;
}

/* What lies there was left by a process that was killed. A first block gives the clock. */
static bool spool_begin(void)
{
    static char path[PATH_ROOM];
    struct {
        struct trace_head head;
        struct trace_block block;
    } first = {{TRACE_HEAD_MAGIC, spool_pid}, {.magic = TRACE_BLOCK_MAGIC}};
    spool_beside(path, ".spool");
    sys_3(SYS_unlinkat, AT_FDCWD, path, 0);
    spool_fd = (int)sys_4(SYS_openat, AT_FDCWD, path,
                          O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_APPEND, 0600);
    if (spool_fd < 0)
        return false;
    spool_fd = fd_make_private(spool_fd);
    tick_pair(&first.block.ticks, &first.block.ns);
    spool_used = sizeof first;
    spool_goes_on = spool_put(spool_fd, &first, sizeof first);
    return spool_goes_on;
}

/* In the meantime FILE is a trace with nothing in it but this. */
static bool spool_note(void)
{
    static const char note[] =
        "[\n{\"name\":\"not finished: greenctl convert makes it from the file .spool beside it\","
        "\"ph\":\"i\",\"s\":\"g\",\"pid\":0,\"tid\":0,\"ts\":0}\n]\n";
    return sys_2(SYS_ftruncate, spool_file, 0) == 0 && spool_put(spool_file, note, sizeof note - 1);
}

static void spool_close(void)
{
    spool_goes_on = false;
    spool_shut(&spool_fd);
    spool_shut(&spool_older);
    spool_shut(&spool_file);
}

bool spool_open(bool forked)
{
    static char path[PATH_ROOM];
    static const char go_on[] = "name another file; the program goes on without";
    spool_pid = (uint64_t)sys_0(SYS_getpid);
    spool_file = spool_open_file(forked);
    if (spool_file < 0) {
        spool_say(" cannot be opened as a file", go_on);
        return false;
    }
    if (!spool_begin() || !spool_note()) {
        spool_say(" cannot be written: is the disk full?", go_on);
        spool_close();
        return false;
    }
    spool_beside(path, ".1.spool");
    sys_3(SYS_unlinkat, AT_FDCWD, path, 0);
    return true;
}

bool spool_is_open(void)
{
    return spool_goes_on;
}

/* ---- Appending ------------------------------------------------------------------------------- */

static const char ended[] = "tracing has ended; the program goes on";

static struct {
    struct trace_block block;
    uint64_t head[PARTS + 1], lost_head[PARTS];
    struct trace_record lost[PARTS];
    struct iovec piece[6 * PARTS + 8];
} out;

static size_t out_add(size_t pieces, const void *bytes, size_t n)
{
    if (!n)
        return pieces;
    out.piece[pieces] = (struct iovec){(void *)(uintptr_t)bytes, n};
    return pieces + 1;
}

static bool spool_send(size_t pieces)
{
    enum { AT_ONCE = 1024 }; /* IOV_MAX */
    for (size_t at = 0; at < pieces;) {
        size_t count = pieces - at < AT_ONCE ? pieces - at : AT_ONCE;
        long n = sys_3(SYS_writev, spool_fd, &out.piece[at], count);
        if (n <= 0 && n != -4 /* EINTR */)
            return false;
        for (size_t done = n > 0 ? (size_t)n : 0; done;) {
            size_t step = done < out.piece[at].iov_len ? done : out.piece[at].iov_len;
            out.piece[at].iov_base = (char *)out.piece[at].iov_base + step;
            out.piece[at].iov_len -= step;
            done -= step;
            at += out.piece[at].iov_len == 0;
        }
    }
    return true;
}

bool spool_write(const struct ring_part *parts, size_t n, const struct trace_record *more,
                 size_t count)
{
    size_t pieces = out_add(0, &out.block, sizeof out.block), words = 0;
    out.block.magic = TRACE_BLOCK_MAGIC;
    tick_pair(&out.block.ticks, &out.block.ns);
    for (size_t i = 0; i < n && i < PARTS; i++) {
        size_t records = parts[i].count[0] + parts[i].count[1];
        out.head[i] = (uint64_t)parts[i].hub << 32 | records;
        pieces = out_add(pieces, &out.head[i], sizeof out.head[i]);
        for (int piece = 0; piece < 2; piece++)
            pieces = out_add(pieces, parts[i].at[piece], parts[i].count[piece] * sizeof *more);
        words += 1 + 3 * records;
        if (parts[i].lost) {
            out.lost_head[i] = (uint64_t)parts[i].hub << 32 | 1;
            out.lost[i] = (struct trace_record){
                {out.block.ticks << RECORD_TIME_SHIFT | RECORD_GAP, 0, parts[i].lost}};
            pieces = out_add(pieces, &out.lost_head[i], sizeof out.lost_head[i]);
            pieces = out_add(pieces, &out.lost[i], sizeof out.lost[i]);
            words += 4;
        }
    }
    if (count) {
        out.head[PARTS] = count;
        pieces = out_add(pieces, &out.head[PARTS], sizeof out.head[PARTS]);
        pieces = out_add(pieces, more, count * sizeof *more);
        words += 1 + 3 * count;
    }
    if (!words)
        return true;
    out.block.words = words;
    spool_used += sizeof out.block + words * sizeof(uint64_t);
    if (spool_send(pieces))
        return true;
    spool_say(" cannot be written: is the disk full?", ended);
    spool_goes_on = false;
    return false;
}

bool spool_is_full(void)
{
    return spool_used > config.trace_size;
}

bool spool_rotate(void)
{
    static char path[PATH_ROOM], older[PATH_ROOM];
    spool_beside(path, ".spool");
    spool_beside(older, ".1.spool");
    sys_4(SYS_renameat, AT_FDCWD, path, AT_FDCWD, older);
    spool_shut(&spool_older);
    spool_older = spool_fd;
    spool_goes_on = false;
    if (spool_begin())
        return true;
    spool_shut(&spool_fd);
    spool_say(" cannot go on in a new file", ended);
    return false;
}

/* ---- The end --------------------------------------------------------------------------------- */

static struct put json;

static void spool_event(void *unused, const struct trace_event *e)
{
    (void)unused;
    trace_write_event(&json, spool_pid, e);
}

/* The events of a spool go to `fd`, as JSON. */
static bool spool_convert(struct decoder *d, int from, int fd)
{
    struct stat st;
    if (from < 0 || fstat(from, &st) || st.st_size <= 0)
        return false;
    long at = sys_6(SYS_mmap, NULL, st.st_size, PROT_READ, MAP_PRIVATE, from, 0);
    if (at < 0 && at > -4096)
        return false;
    put_start(&json, fd);
    trace_write_begin(&json, spool_pid);
    bool whole = decode_file(d, (const void *)at, (size_t)st.st_size);
    trace_write_end(&json, spool_pid);
    put_flush(&json);
    sys_2(SYS_munmap, at, st.st_size);
    return whole && !json.failed;
}

static bool spool_convert_older(struct decoder *d)
{
    static char path[PATH_ROOM], to[PATH_ROOM];
    spool_beside(path, ".1.spool");
    spool_beside(to, ".1");
    sys_3(SYS_unlinkat, AT_FDCWD, to, 0);
    int fd = (int)sys_4(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = fd >= 0 && spool_convert(d, spool_older, fd);
    if (fd >= 0)
        sys_1(SYS_close, fd);
    sys_3(SYS_unlinkat, AT_FDCWD, done ? path : to, 0);
    return done;
}

void spool_finish(void)
{
    static struct decoder d;
    static char path[PATH_ROOM];
    if (spool_file < 0)
        return;
    d.event = spool_event;
    bool older = spool_older < 0 || spool_convert_older(&d);
    spool_beside(path, ".spool");
    bool newer = sys_2(SYS_ftruncate, spool_file, 0) == 0 &&
                 sys_3(SYS_lseek, spool_file, 0, SEEK_SET) == 0 &&
                 spool_convert(&d, spool_fd, spool_file);
    decode_end(&d);
    if (newer)
        sys_3(SYS_unlinkat, AT_FDCWD, path, 0);
    else
        sys_2(SYS_ftruncate, spool_file, 0);
    if (!older || !newer)
        spool_say(" cannot be finished: is the disk full?",
                  "greenctl convert makes it from the file .spool beside it, where there is room");
    spool_close();
}

void spool_fork(void)
{
    spool_goes_on = false;
    spool_file = spool_fd = spool_older = -1; /* the numbers are closed with the others that were ours */
}
