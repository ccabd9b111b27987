/* Read by system calls: stdio would allocate from the program's malloc and hold its locks. */
#include "dnsfile.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "coro/sys.h"
#include "hub/alloc.h"

struct dns_file_state dns_file_state(const char *path)
{
    struct statx s;
    if (sys_5(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &s))
        return (struct dns_file_state){0};
    return (struct dns_file_state){
        .device = (uint64_t)s.stx_dev_major << 32 | s.stx_dev_minor,
        .inode = s.stx_ino,
        .size = s.stx_size,
        .modified = s.stx_mtime.tv_sec,
        .modified_ns = s.stx_mtime.tv_nsec,
        .changed = s.stx_ctime.tv_sec,
        .changed_ns = s.stx_ctime.tv_nsec,
    };
}

static char *read_all(int fd)
{
    size_t used = 0, room = 4096;
    char *text = green_alloc(room);
    while (text) {
        long got = sys_3(SYS_read, fd, text + used, room - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used + 1 < room)
            continue;
        char *larger = green_realloc(text, room *= 2);
        if (!larger)
            break;
        text = larger;
    }
    if (text)
        text[used] = 0;
    return text;
}

char *dns_file_read(const char *path)
{
    long fd = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return NULL;
    char *text = read_all((int)fd);
    sys_1(SYS_close, fd);
    return text;
}

char *dns_file_line(char **text)
{
    char *line = *text;
    if (!*line)
        return NULL;
    char *end = strchrnul(line, '\n');
    *text = *end ? end + 1 : end;
    *end = 0;
    *strchrnul(line, '#') = 0;
    return line;
}

static const char spaces[] = " \t\r\v\f";

char *dns_file_word(char **line)
{
    char *word = *line + strspn(*line, spaces);
    if (!*word)
        return NULL;
    char *end = word + strcspn(word, spaces);
    *line = *end ? end + 1 : end;
    *end = 0;
    return word;
}
