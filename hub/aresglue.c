/* c-ares' calls to libc: see evglue.h.
 *
 * c-ares reads /etc/resolv.conf, hosts and nsswitch.conf through stdio, which would allocate from
 * the program's malloc and take locks that the program can hold. It needs lines and blocks only.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "alloc.h"
#include "coro/sys.h"

/* What c-ares takes for a FILE. Owned by the call of c-ares that opened it. */
struct file {
    int fd;
    int failed;
    size_t at, end; /* unread part of the buffer */
    char buffer[4096 - 24];
};

/* The names that objcopy gives to c-ares' references; nothing else calls these. */
struct file *aresglue_fopen(const char *path, const char *mode);
char *aresglue_fgets(char *line, int size, struct file *file);
size_t aresglue_fread(void *to, size_t size, size_t n, struct file *file);
int aresglue_ferror(struct file *file);
int aresglue_fclose(struct file *file);
int aresglue_setvbuf(struct file *file, char *buffer, int mode, size_t size);
struct servent *aresglue_getservbyname(const char *name, const char *protocol);
int aresglue_getservbyport_r(int port, const char *protocol, struct servent *entry, char *buffer,
                             size_t size, struct servent **result);
int aresglue_rand(void);
void aresglue_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));

/* For reading; c-ares never writes. */
struct file *aresglue_fopen(const char *path, const char *mode)
{
    (void)mode;
    long fd = sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        errno = (int)-fd;
        return NULL;
    }
    struct file *file = green_alloc(sizeof *file);
    if (!file) {
        sys_1(SYS_close, fd);
        errno = ENOMEM;
        return NULL;
    }
    file->fd = (int)fd;
    file->failed = 0;
    file->at = file->end = 0;
    return file;
}

/* The next byte, or -1 at the end or on error. */
static int next_byte(struct file *file)
{
    if (file->at == file->end) {
        long got;
        do
            got = sys_3(SYS_read, file->fd, file->buffer, sizeof file->buffer);
        while (got == -EINTR);
        if (got <= 0) {
            file->failed |= got < 0;
            return -1;
        }
        file->at = 0;
        file->end = (size_t)got;
    }
    return (unsigned char)file->buffer[file->at++];
}

char *aresglue_fgets(char *line, int size, struct file *file)
{
    int length = 0;
    while (length < size - 1) {
        int byte = next_byte(file);
        if (byte < 0)
            break;
        line[length++] = (char)byte;
        if (byte == '\n')
            break;
    }
    if (length == 0 || file->failed)
        return NULL;
    line[length] = '\0';
    return line;
}

size_t aresglue_fread(void *to, size_t size, size_t n, struct file *file)
{
    size_t total, length = 0;
    if (size == 0 || __builtin_mul_overflow(n, size, &total))
        return 0;
    for (int byte; length < total && (byte = next_byte(file)) >= 0; length++)
        ((char *)to)[length] = (char)byte;
    return length / size;
}

int aresglue_ferror(struct file *file)
{
    return file->failed;
}

int aresglue_fclose(struct file *file)
{
    sys_1(SYS_close, file->fd);
    green_free(file);
    return 0;
}

int aresglue_setvbuf(struct file *file, char *buffer, int mode, size_t size)
{
    (void)file, (void)buffer, (void)mode, (void)size;
    return 0;
}

/* Service names are the real getaddrinfo's business (its result would be libc's static buffer). */
struct servent *aresglue_getservbyname(const char *name, const char *protocol)
{
    (void)name, (void)protocol;
    return NULL;
}

int aresglue_getservbyport_r(int port, const char *protocol, struct servent *entry, char *buffer,
                             size_t size, struct servent **result)
{
    (void)port, (void)protocol, (void)entry, (void)buffer, (void)size;
    *result = NULL;
    return 0;
}

/* The program's rand() sequence stays the program's. */
int aresglue_rand(void)
{
    unsigned value = 0;
    sys_3(SYS_getrandom, &value, sizeof value, GRND_NONBLOCK);
    return (int)(value >> 1);
}

/* libc's may allocate. c-ares sorts a handful of addresses. Stable. */
void aresglue_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    char *items = base;
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0; j--) {
            char *a = items + (j - 1) * size;
            char *b = a + size;
            if (compare(a, b) <= 0)
                break;
            for (size_t k = 0; k < size; k++) {
                char byte = a[k];
                a[k] = b[k];
                b[k] = byte;
            }
        }
}
