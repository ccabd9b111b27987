#include "hub/debug/modules.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "coro/sys.h"
#include "hub/debug/peek.h"

enum { MODULES = 512, CODES = 1024, PATHS = 64 * 1024, LINE = 4352, PHDRS = 64 };

static struct module table[MODULES];
static unsigned table_used;
static char paths[PATHS];
static size_t paths_used;

static struct code {
    uintptr_t start, end;
} codes[CODES];
static unsigned codes_used;

/* One mapping, as a line of /proc/self/maps says. */
struct mapping {
    uintptr_t start, end, offset;
    bool code;
    const char *path;
};

static const char *parse_hex(const char *p, uintptr_t *value)
{
    *value = 0;
    for (;; p++) {
        unsigned digit = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                                                  : 16;
        if (digit == 16)
            return p;
        *value = *value << 4 | digit;
    }
}

static bool parse_line(const char *line, struct mapping *m)
{
    const char *p = parse_hex(line, &m->start);
    if (*p++ != '-')
        return false;
    p = parse_hex(p, &m->end);
    if (strlen(p) < 6)
        return false;
    m->code = p[3] == 'x';
    p = parse_hex(p + 6, &m->offset);
    for (int field = 0; field < 2; field++) { /* device, inode */
        while (*p == ' ')
            p++;
        while (*p && *p != ' ')
            p++;
    }
    while (*p == ' ')
        p++;
    m->path = p;
    return true;
}

static const char *keep_path(const char *path)
{
    size_t n = strlen(path) + 1;
    if (n > sizeof paths - paths_used)
        return "?";
    char *kept = memcpy(paths + paths_used, path, n);
    paths_used += n;
    return kept;
}

/* A file's first page is mapped: its headers say where all of it lies. */
static void module_add(const struct mapping *m)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) phdr[PHDRS];
    if (table_used == MODULES || !peek(&header, m->start, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phnum > PHDRS ||
        header.e_phentsize != sizeof phdr[0] ||
        !peek(phdr, m->start + header.e_phoff, header.e_phnum * sizeof phdr[0]))
        return;
    uintptr_t low = UINTPTR_MAX, high = 0, eh_hdr = 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (phdr[i].p_type == PT_LOAD) {
            low = phdr[i].p_vaddr < low ? phdr[i].p_vaddr : low;
            high = phdr[i].p_vaddr + phdr[i].p_memsz > high ? phdr[i].p_vaddr + phdr[i].p_memsz
                                                            : high;
        } else if (phdr[i].p_type == PT_GNU_EH_FRAME) {
            eh_hdr = phdr[i].p_vaddr;
        }
    }
    if (high <= low)
        return;
    uintptr_t bias = m->start - (low & ~(uintptr_t)4095);
    uintptr_t here = (uintptr_t)modules_load;
    table[table_used] = (struct module){.start = bias + low, .end = bias + high, .bias = bias,
                                        .eh_hdr = eh_hdr ? bias + eh_hdr : 0,
                                        .path = keep_path(m->path)};
    table[table_used].ours = here >= bias + low && here < bias + high;
    table_used++;
}

static void mapping_add(const struct mapping *m)
{
    if (m->code && codes_used < CODES)
        codes[codes_used++] = (struct code){m->start, m->end};
    if (m->offset == 0 && (m->path[0] == '/' || strcmp(m->path, "[vdso]") == 0))
        module_add(m);
}

void modules_load(void)
{
    static char text[2 * LINE];
    size_t used = 0;
    bool skip = false; /* the rest of a line that was too long */
    table_used = codes_used = 0;
    paths_used = 0;
    long fd = sys_4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    long got;
    while ((got = sys_3(SYS_read, fd, text + used, sizeof text - 1 - used)) > 0) {
        used += (size_t)got;
        text[used] = 0;
        char *line = text, *end;
        while ((end = strchr(line, '\n'))) {
            struct mapping m;
            *end = 0;
            if (!skip && parse_line(line, &m))
                mapping_add(&m);
            skip = false;
            line = end + 1;
        }
        used -= (size_t)(line - text);
        memmove(text, line, used);
        if (used == sizeof text - 1) {
            used = 0;
            skip = true;
        }
    }
    sys_1(SYS_close, fd);
}

const struct module *module_of(uintptr_t address)
{
    for (unsigned i = 0; i < table_used; i++)
        if (address >= table[i].start && address < table[i].end)
            return &table[i];
    return NULL;
}

bool module_is_code(uintptr_t address)
{
    for (unsigned i = 0; i < codes_used; i++)
        if (address >= codes[i].start && address < codes[i].end)
            return true;
    return false;
}

const char *module_base(const struct module *m)
{
    const char *slash = strrchr(m->path, '/');
    return slash ? slash + 1 : m->path;
}
