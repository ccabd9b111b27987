#include "loader_cache.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

/* The format of glibc 2.2 and later; an older one may stand before it in the same file. */
static const char loader_cache_magic[] = "glibc-ld.so.cache1.1";

struct loader_cache_header {
    char magic[20];
    uint32_t count;
    uint32_t strings_size;
    uint32_t unused[5];
};

/* `name` and `path` count from the start of the header. */
struct loader_cache_entry {
    int32_t flags;
    uint32_t name;
    uint32_t path;
    uint32_t os_version;
    uint64_t capabilities;
};

_Static_assert(sizeof(struct loader_cache_header) == 48, "the file's layout");
_Static_assert(sizeof(struct loader_cache_entry) == 24, "the file's layout");

#if defined(__x86_64__)
enum { LOADER_CACHE_FLAGS = 0x0303 };
#else
enum { LOADER_CACHE_FLAGS = 0x0a03 };
#endif

/* Where the header stands, or NULL. The old format's header is 16 bytes and its entries 12 each. */
static const unsigned char *loader_cache_header(const unsigned char *bytes, size_t size)
{
    const size_t wanted = sizeof(struct loader_cache_header);
    size_t at = 0;
    uint32_t old_count;
    if (size >= 16 && memcmp(bytes, "ld.so-1.7.0", 11) == 0) {
        memcpy(&old_count, bytes + 12, sizeof old_count);
        at = (16 + (size_t)old_count * 12 + 7) / 8 * 8;
    }
    if (at > size || size - at < wanted)
        return NULL;
    return memcmp(bytes + at, loader_cache_magic, 20) == 0 ? bytes + at : NULL;
}

static char *loader_cache_look(const unsigned char *bytes, size_t size, const char *name)
{
    const unsigned char *start = loader_cache_header(bytes, size);
    if (start == NULL)
        return NULL;
    size -= (size_t)(start - bytes);
    struct loader_cache_header header;
    memcpy(&header, start, sizeof header);
    if (header.count > (size - sizeof header) / sizeof(struct loader_cache_entry))
        return NULL;
    for (uint32_t i = 0; i < header.count; i++) {
        struct loader_cache_entry entry;
        memcpy(&entry, start + sizeof header + i * sizeof entry, sizeof entry);
        /* One with capabilities is a variant for newer processors of one without. */
        if (entry.flags != LOADER_CACHE_FLAGS || entry.capabilities != 0 || entry.name >= size ||
            entry.path >= size || memchr(start + entry.name, 0, size - entry.name) == NULL ||
            memchr(start + entry.path, 0, size - entry.path) == NULL)
            continue;
        if (strcmp((const char *)start + entry.name, name) == 0)
            return say_format("%s", (const char *)start + entry.path);
    }
    return NULL;
}

char *loader_cache_find(const char *name)
{
    struct stat about;
    char *path = NULL;
    int fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
        const size_t size = (size_t)about.st_size;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            path = loader_cache_look(bytes, size, name);
            munmap(bytes, size);
        }
    }
    close(fd);
    return path;
}
