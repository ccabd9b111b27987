#include "environment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf.h"
#include "libraries.h"
#include "say.h"

#ifndef GREEN_LIBDIR
#define GREEN_LIBDIR "/usr/local/lib/libgreen"
#endif

static const char environment_file[] = "libgreen.so";
static const char environment_separators[] = " :"; /* of LD_PRELOAD */

/* Where it may be, in the order of the search. The caller frees the text. */
static char *environment_place(int n, const char *directory)
{
    switch (n) {
    case 0:
        return say_format("%s/%s", directory, environment_file);
    case 1:
        return say_format("%s/../lib/libgreen/%s", directory, environment_file);
    case 2:
        return say_format("%s/../lib/%s", directory, environment_file);
    default:
        return say_format("%s/%s", GREEN_LIBDIR, environment_file);
    }
}

/* The directory that eventlet-run is in. The caller frees it. Without /proc it is known by the name
 * that the kernel was given. */
static char *environment_directory(void)
{
    char *self = realpath("/proc/self/exe", NULL);
    const char *name = (const char *)getauxval(AT_EXECFN);
    if (self == NULL && name != NULL)
        self = realpath(name, NULL);
    char *slash = self != NULL ? strrchr(self, '/') : NULL;
    if (slash == NULL) {
        free(self);
        return say_format("%s", "/nonexistent");
    }
    *slash = 0;
    return self;
}

/* Where the loader fails to load an entry of LD_PRELOAD it prints a warning and runs the program
 * natively. So try before. */
static void environment_check_library(const char *path)
{
    struct elf elf;
    const char *hint = "build it with `make`, or name the right file with --lib=PATH";
    switch (elf_open(path, &elf)) {
    case ELF_OK:
        break;
    case ELF_UNREADABLE:
        say_no(SAY_FAILED, hint, "libgreen.so cannot be read: %s: %s", path, strerror(errno));
    case ELF_FOREIGN:
        say_no(SAY_FAILED, hint, "libgreen.so is for another architecture (%s): %s",
               elf_machine(&elf), path);
    default:
        say_no(SAY_FAILED, hint, "libgreen.so is no shared library: %s", path);
    }
    if (elf.header->e_type != ET_DYN || elf.dynamic == NULL || elf_interpreter(&elf) != NULL)
        say_no(SAY_FAILED, hint, "libgreen.so is no shared library: %s", path);
    elf_close(&elf);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *code = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (code == MAP_FAILED)
        say_no(SAY_FAILED,
               "put it on a file system that is not mounted noexec, and name it with --lib",
               "libgreen.so cannot be loaded: %s: %s", path, strerror(errno));
    munmap(code, 1);
    close(fd);

    if (strpbrk(path, environment_separators) != NULL)
        say_no(SAY_FAILED, "move it to another directory, or install it with `make install`",
               "libgreen.so cannot be preloaded: there is a space or a colon in its path: %s",
               path);
}

char *environment_library(const char *asked)
{
    char *found = NULL;
    char *directory = environment_directory();
    if (asked != NULL) {
        found = realpath(asked, NULL);
        if (found == NULL)
            say_no(SAY_FAILED, "build it with `make`, or name the right file with --lib=PATH",
                   "libgreen.so cannot be read: %s: %s", asked, strerror(errno));
    }
    for (int n = 0; found == NULL && n < 4; n++) {
        char *place = environment_place(n, directory);
        found = realpath(place, NULL);
        free(place);
    }
    if (found == NULL)
        say_no(SAY_FAILED, "build it with `make`, or name it with --lib=PATH",
               "libgreen.so was not found in %s, %s/../lib or %s", directory, directory,
               GREEN_LIBDIR);
    free(directory);
    environment_check_library(found);
    return found;
}

/* Is this entry of LD_PRELOAD a libgreen, ours or another, with a version behind its name or not?
 */
static bool environment_is_ours(const char *entry, size_t length)
{
    size_t base = length;
    while (base > 0 && entry[base - 1] != '/')
        base--;
    const size_t name = sizeof environment_file - 1;
    return length - base >= name && memcmp(entry + base, environment_file, name) == 0;
}

static const char *environment_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Does the list have an entry with the same last part of its path? */
static bool environment_has(const char *list, const char *path)
{
    const char *base = environment_base(path);
    const size_t length = strlen(base);
    while (*list != 0) {
        size_t n = strcspn(list, environment_separators);
        if (n >= length && memcmp(list + n - length, base, length) == 0 &&
            (n == length || list[n - length - 1] == '/'))
            return true;
        list += n + (list[n] != 0);
    }
    return false;
}

static void environment_append(char **list, const char *entry, size_t length)
{
    char *longer = say_format("%s%s%.*s", *list, **list != 0 ? ":" : "", (int)length, entry);
    free(*list);
    *list = longer;
}

void environment_preload(const char *library, const char *program, char *const *runtimes)
{
    const char *old = getenv("LD_PRELOAD");
    char *list = say_format("%s", "");
    for (; *runtimes != NULL; runtimes++) {
        if (old != NULL && environment_has(old, *runtimes))
            continue;
        /* By its full path, because the program's children look elsewhere. */
        char *path = libraries_find(program, *runtimes);
        const char *entry =
            path != NULL && strpbrk(path, environment_separators) == NULL ? path : *runtimes;
        environment_append(&list, entry, strlen(entry));
        free(path);
    }
    while (old != NULL && *old != 0) {
        size_t length = strcspn(old, environment_separators);
        if (length != 0 && !environment_is_ours(old, length))
            environment_append(&list, old, length);
        old += length + (old[length] != 0);
    }
    environment_append(&list, library, strlen(library));
    if (setenv("LD_PRELOAD", list, 1) != 0)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    free(list);
}
