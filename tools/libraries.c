#include "libraries.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader_cache.h"
#include "say.h"

enum { LIBRARIES_MAX = 4096 }; /* more than any program has: a file cannot keep us busy for ever */

#if defined(__x86_64__)
#define LIBRARIES_TUPLE "x86_64-linux-gnu"
#else
#define LIBRARIES_TUPLE "aarch64-linux-gnu"
#endif

static const char libraries_default[] =
    "/lib/" LIBRARIES_TUPLE ":/usr/lib/" LIBRARIES_TUPLE ":/lib64:/usr/lib64:/lib:/usr/lib";

/* The directory of a file, as $ORIGIN means it. The caller frees it. */
static char *libraries_origin(const char *path)
{
    char *real = realpath(path, NULL);
    char *slash = real != NULL ? strrchr(real, '/') : NULL;
    if (slash == NULL) {
        free(real);
        return say_format(".");
    }
    slash[slash == real] = 0;
    return real;
}

/* `text` with $ORIGIN, $LIB and $PLATFORM replaced. The caller frees it. */
static char *libraries_expand(const char *text, size_t length, const char *origin)
{
    static const char *const names[] = {"ORIGIN", "LIB", "PLATFORM"};
    const char *const values[] = {origin, "lib/" LIBRARIES_TUPLE, "x86_64"};
    char *result = say_format("%s", "");
    for (size_t i = 0; i < length;) {
        size_t step = 1;
        const char *value = NULL;
        for (size_t n = 0; text[i] == '$' && n < 3; n++) {
            const size_t size = strlen(names[n]);
            const size_t brace = i + 1 < length && text[i + 1] == '{';
            if (i + 1 + size + 2 * brace <= length &&
                strncmp(text + i + 1 + brace, names[n], size) == 0 &&
                (!brace || text[i + 2 + size] == '}')) {
                value = values[n];
                step = 1 + size + 2 * brace;
            }
        }
        char *longer =
            value != NULL ? say_format("%s%s", result, value) : say_format("%s%c", result, text[i]);
        free(result);
        result = longer;
        i += step;
    }
    return result;
}

/* A file that the loader would take: readable and for this machine. */
static bool libraries_usable(const char *path)
{
    struct elf elf;
    enum elf_result result = elf_open(path, &elf);
    elf_close(&elf);
    return result == ELF_OK;
}

/* Look for `name` in directories separated by colons. The caller frees the path, or gets NULL. */
static char *libraries_in(const char *directories, const char *origin, const char *name)
{
    while (directories != NULL) {
        size_t length = strcspn(directories, ":;");
        char *directory = libraries_expand(directories, length, origin);
        char *path = say_format("%s/%s", *directory != 0 ? directory : ".", name);
        free(directory);
        if (libraries_usable(path))
            return path;
        free(path);
        directories = directories[length] != 0 ? directories + length + 1 : NULL;
    }
    return NULL;
}

/* The path for `name`, which list[by] asks for. */
static char *libraries_resolve(const struct libraries *libraries, size_t by, const char *name)
{
    const struct library *asking = &libraries->list[by];
    char *origin = libraries_origin(asking->path);
    char *found = NULL;
    if (strchr(name, '/') != NULL) {
        found = libraries_expand(name, strlen(name), origin);
        free(origin);
        if (libraries_usable(found))
            return found;
        free(found);
        return NULL;
    }
    const char *run_path = elf_dynamic_string(&asking->elf, DT_RUNPATH, 0);
    if (run_path == NULL) {
        /* DT_RPATH, of the one that asks, of the one that asked for it, and so on up. */
        for (size_t i = by; found == NULL; i = libraries->list[i].asked_by) {
            const struct library *up = &libraries->list[i];
            const char *directories = elf_dynamic_string(&up->elf, DT_RPATH, 0);
            if (directories != NULL && elf_dynamic_string(&up->elf, DT_RUNPATH, 0) == NULL) {
                char *up_origin = libraries_origin(up->path);
                found = libraries_in(directories, up_origin, name);
                free(up_origin);
            }
            if (i == 0)
                break;
        }
    }
    const char *asked_for = getenv("LD_LIBRARY_PATH");
    if (found == NULL && asked_for != NULL && *asked_for != 0)
        found = libraries_in(asked_for, origin, name);
    if (found == NULL)
        found = libraries_in(run_path, origin, name);
    free(origin);
    if (found == NULL) {
        found = loader_cache_find(name);
        if (found != NULL && !libraries_usable(found)) {
            free(found);
            found = NULL;
        }
    }
    return found != NULL ? found : libraries_in(libraries_default, "", name);
}

/* Is a library of this name, or with this name as its DT_SONAME, in the list? */
static bool libraries_has(const struct libraries *libraries, const char *name)
{
    for (size_t i = 1; i < libraries->count; i++) {
        const struct library *library = &libraries->list[i];
        const char *own =
            library->path != NULL ? elf_dynamic_string(&library->elf, DT_SONAME, 0) : NULL;
        if (strcmp(library->name, name) == 0 || (own != NULL && strcmp(own, name) == 0))
            return true;
    }
    return false;
}

/* Takes `path`, which may be NULL. */
static void libraries_add(struct libraries *libraries, const char *name, char *path, size_t by)
{
    struct library *list =
        reallocarray(libraries->list, libraries->count + 1, sizeof *libraries->list);
    if (list == NULL)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    libraries->list = list;
    struct library *added = &list[libraries->count++];
    *added = (struct library){.name = say_format("%s", name), .path = path, .asked_by = by};
    if (path != NULL && elf_open(path, &added->elf) != ELF_OK) {
        elf_close(&added->elf);
        free(path);
        added->path = NULL;
    }
}

void libraries_collect(struct libraries *libraries, const char *program)
{
    *libraries = (struct libraries){0};
    libraries_add(libraries, program, say_format("%s", program), 0);
    for (size_t i = 0; i < libraries->count; i++) {
        const char *name;
        for (size_t n = 0;
             libraries->list[i].path != NULL && libraries->count < LIBRARIES_MAX &&
             (name = elf_dynamic_string(&libraries->list[i].elf, DT_NEEDED, n)) != NULL;
             n++)
            if (!libraries_has(libraries, name))
                libraries_add(libraries, name, libraries_resolve(libraries, i, name), i);
    }
}

char *libraries_find(const char *program, const char *name)
{
    struct libraries libraries = {0};
    libraries_add(&libraries, program, say_format("%s", program), 0);
    char *path = libraries.list[0].path != NULL ? libraries_resolve(&libraries, 0, name) : NULL;
    libraries_free(&libraries);
    return path;
}

void libraries_free(struct libraries *libraries)
{
    for (size_t i = 0; i < libraries->count; i++) {
        elf_close(&libraries->list[i].elf);
        free(libraries->list[i].name);
        free(libraries->list[i].path);
    }
    free(libraries->list);
    *libraries = (struct libraries){0};
}
