/* The symbol table of a file is read through, a block at a time, for each address that is new:
 * nothing is kept of it but the answer. A file that was replaced since it was mapped (its path then
 * ends in " (deleted)") has no names. */
#include "hub/debug/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "coro/sys.h"
#include "hub/debug/peek.h"

enum { CACHE = 1024, SECTIONS = 128, BLOCK = 256 };

static struct symbol cache[CACHE];

struct file {
    int fd;
    ElfW(Shdr) symbols, strings;
};

static bool file_read(int fd, void *to, size_t n, uint64_t at)
{
    return sys_4(SYS_pread64, fd, to, n, at) == (long)n;
}

static bool file_open(struct file *f, const char *path)
{
    static ElfW(Shdr) section[SECTIONS];
    ElfW(Ehdr) header;
    f->fd = (int)sys_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (f->fd < 0)
        return false;
    if (!file_read(f->fd, &header, sizeof header, 0) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_shnum > SECTIONS ||
        header.e_shentsize != sizeof section[0] ||
        !file_read(f->fd, section, header.e_shnum * sizeof section[0], header.e_shoff))
        return false;
    const ElfW(Shdr) *best = NULL;
    for (unsigned i = 0; i < header.e_shnum; i++)
        if (section[i].sh_type == SHT_SYMTAB || (section[i].sh_type == SHT_DYNSYM && !best))
            best = &section[i];
    if (!best || best->sh_link >= header.e_shnum || best->sh_entsize != sizeof(ElfW(Sym)))
        return false;
    f->symbols = *best;
    f->strings = section[best->sh_link];
    return true;
}

/* Is `s` a better answer for `address` than `best`? The nearest one that begins before it; of those
 * the one that reaches over it. */
static bool symbol_better(const ElfW(Sym) *s, const ElfW(Sym) *best, uintptr_t address)
{
    unsigned type = s->st_info & 15;
    if (s->st_shndx == SHN_UNDEF || s->st_value > address ||
        (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE && type != STT_GNU_IFUNC))
        return false;
    if (s->st_size ? address >= s->st_value + s->st_size : type == STT_OBJECT)
        return false;
    if (!s->st_size && address - s->st_value > 4096)
        return false;
    return !best->st_value || s->st_value > best->st_value ||
           (s->st_value == best->st_value && s->st_size && !best->st_size);
}

static void symbol_search(const struct file *f, uintptr_t address, struct symbol *found)
{
    static ElfW(Sym) block[BLOCK];
    ElfW(Sym) best = {0};
    uint64_t count = f->symbols.sh_size / sizeof block[0];
    for (uint64_t i = 0; i < count; i += BLOCK) {
        uint64_t n = count - i < BLOCK ? count - i : BLOCK;
        if (!file_read(f->fd, block, n * sizeof block[0], f->symbols.sh_offset + i * sizeof block[0]))
            break;
        for (uint64_t k = 0; k < n; k++)
            if (symbol_better(&block[k], &best, address))
                best = block[k];
    }
    if (!best.st_value)
        return;
    long got = sys_4(SYS_pread64, f->fd, found->name, sizeof found->name - 1,
                     f->strings.sh_offset + best.st_name);
    found->name[got > 0 ? got : 0] = 0;
    found->offset = address - best.st_value;
}

static bool is_mapping_symbol(const char *name)
{
    return name[0] == '$' || name[0] == 0;
}

const struct symbol *symbol_of(uintptr_t address)
{
    struct symbol *s = &cache[(address * UINT64_C(0x9E3779B97F4A7C15)) >> 54];
    _Static_assert(CACHE == 1 << 10, "the hash gives ten bits");
    if (s->address == address && address)
        return s;
    *s = (struct symbol){.address = address, .module = module_of(address)};
    if (!s->module)
        return s;
    struct file f = {.fd = -1};
    if (s->module->path[0] == '/' && file_open(&f, s->module->path))
        symbol_search(&f, address - s->module->bias, s);
    if (f.fd >= 0)
        sys_1(SYS_close, f.fd);
    if (is_mapping_symbol(s->name))
        s->name[0] = 0;
    /* Our wrappers are exported under libc's names. */
    if (s->module->ours && strncmp(s->name, "green_", 6) == 0)
        memmove(s->name, s->name + 6, strlen(s->name + 6) + 1);
    return s;
}

void symbols_forget(void)
{
    memset(cache, 0, sizeof cache);
}
