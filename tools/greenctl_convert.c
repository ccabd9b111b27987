/* greenctl convert: JSON of a trace whose program was killed, or still runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "greenctl.h"
#include "hub/debug/trace_decode.h"
#include "hub/debug/trace_write.h"

static struct {
    FILE *to;
    uint64_t pid;
    struct put text;
} convert;

static void convert_event(void *unused, const struct trace_event *e)
{
    (void)unused;
    trace_write_event(&convert.text, convert.pid, e);
    fwrite(convert.text.text, 1, convert.text.used, convert.to);
    convert.text.used = 0;
}

/* One spool; false when there is none of that name. What is no spool ends greenctl. */
static bool convert_one(struct decoder *d, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return false;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        greenctl_no(1, "eventlet-run --trace=FILE makes one", "%s: %s", path,
                    fd < 0 ? strerror(errno) : "it is no file");
    size_t size = (size_t)st.st_size;
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    uint64_t pid = bytes == MAP_FAILED ? 0 : decode_pid(bytes, size);
    if (!pid)
        greenctl_no(1, "eventlet-run --trace=FILE makes one", "%s: there is no trace in it", path);
    if (!convert.pid) {
        convert.pid = pid;
        trace_write_begin(&convert.text, pid);
    }
    decode_file(d, bytes, size);
    munmap(bytes, size);
    return true;
}

static bool convert_ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

bool greenctl_unfinished(const char *file, FILE *to)
{
    static struct decoder d = {.event = convert_event};
    static const char *const suffixes[] = {".1.spool", ".spool"};
    bool found = false;
    convert.to = to;
    put_start(&convert.text, -1);
    for (size_t i = 0; i < 2; i++) {
        char *path;
        if (asprintf(&path, "%s%s", file, convert_ends_in(file, ".spool") ? "" : suffixes[i]) < 0)
            greenctl_no(1, "free some memory", "out of memory");
        found |= convert_one(&d, path);
        free(path);
        if (convert_ends_in(file, ".spool"))
            break;
    }
    if (found) {
        trace_write_end(&convert.text, convert.pid);
        fwrite(convert.text.text, 1, convert.text.used, to);
    }
    decode_end(&d);
    return found;
}

int greenctl_convert(const char *file)
{
    if (!greenctl_unfinished(file, stdout))
        greenctl_no(1, "a trace whose program has ended by itself is JSON already",
                    "%s: there is no %s.spool to be converted", file, file);
    if (fflush(stdout) || ferror(stdout))
        greenctl_no(1, "is the disk full?", "cannot write: %s", strerror(errno));
    return 0;
}
