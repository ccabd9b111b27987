#include "elf.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The bytes at `offset`, if `count` items of `size` lie in the file and are aligned; else NULL. */
static const void *elf_at(const struct elf *elf, uint64_t offset, uint64_t count, uint64_t size,
                          uint64_t alignment)
{
    if (offset > elf->size || count > (elf->size - offset) / size || offset % alignment != 0)
        return NULL;
    return elf->bytes + offset;
}

/* The file offset of an address in memory; false where no segment of the file has it. */
static bool elf_offset(const struct elf *elf, uint64_t address, uint64_t *offset)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
            address - segment->p_vaddr < segment->p_filesz &&
            segment->p_offset <= UINT64_MAX - (address - segment->p_vaddr)) {
            *offset = segment->p_offset + (address - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

/* The value of a tag of the dynamic section. */
static bool elf_dynamic(const struct elf *elf, int64_t tag, uint64_t *value)
{
    for (size_t i = 0; i < elf->dynamic_count && elf->dynamic[i].d_tag != DT_NULL; i++)
        if (elf->dynamic[i].d_tag == tag) {
            *value = elf->dynamic[i].d_un.d_val;
            return true;
        }
    return false;
}

static const Elf64_Shdr *elf_sections(const struct elf *elf, size_t *count)
{
    *count = elf->header->e_shnum;
    if (elf->header->e_shentsize != sizeof(Elf64_Shdr))
        *count = 0;
    const Elf64_Shdr *sections = elf_at(elf, elf->header->e_shoff, *count, sizeof(Elf64_Shdr), 8);
    if (sections == NULL)
        *count = 0;
    return sections;
}

/* Symbols are counted by the section headers, or where these are gone, by the hash table. */
static size_t elf_count_symbols(const struct elf *elf)
{
    size_t section_count;
    const Elf64_Shdr *sections = elf_sections(elf, &section_count);
    for (size_t i = 0; i < section_count; i++)
        if (sections[i].sh_type == SHT_DYNSYM)
            return sections[i].sh_size / sizeof(Elf64_Sym);

    uint64_t address, offset;
    if (elf_dynamic(elf, DT_HASH, &address) && elf_offset(elf, address, &offset)) {
        const uint32_t *hash = elf_at(elf, offset, 2, 4, 4);
        return hash != NULL ? hash[1] : 0;
    }
    if (!elf_dynamic(elf, DT_GNU_HASH, &address) || !elf_offset(elf, address, &offset))
        return 0;
    const uint32_t *head = elf_at(elf, offset, 4, 4, 4);
    if (head == NULL)
        return 0;
    uint64_t buckets_at = offset + 16 + (uint64_t)head[2] * 8;
    const uint32_t *buckets = elf_at(elf, buckets_at, head[0], 4, 4);
    if (buckets == NULL)
        return head[1];
    uint64_t last = 0;
    for (uint32_t i = 0; i < head[0]; i++)
        if (buckets[i] > last)
            last = buckets[i];
    if (last < head[1])
        return head[1];
    for (;; last++) {
        const uint32_t *chain =
            elf_at(elf, buckets_at + 4ULL * head[0] + 4 * (last - head[1]), 1, 4, 4);
        if (chain == NULL)
            return last;
        if (*chain & 1)
            return last + 1;
    }
}

/* Finds the dynamic section and its tables; false where they point out of the file. */
static bool elf_find_tables(struct elf *elf)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type != PT_DYNAMIC)
            continue;
        elf->dynamic_count = segment->p_filesz / sizeof(Elf64_Dyn);
        elf->dynamic = elf_at(elf, segment->p_offset, elf->dynamic_count, sizeof(Elf64_Dyn), 8);
        if (elf->dynamic == NULL)
            return false;
        break;
    }
    uint64_t address, offset, size;
    if (elf_dynamic(elf, DT_STRTAB, &address) && elf_dynamic(elf, DT_STRSZ, &size)) {
        if (size == 0 || !elf_offset(elf, address, &offset))
            return false;
        elf->strings = elf_at(elf, offset, size, 1, 1);
        if (elf->strings == NULL || elf->strings[size - 1] != 0)
            return false;
        elf->strings_size = size;
    }
    if (elf->strings != NULL && elf_dynamic(elf, DT_SYMTAB, &address) &&
        elf_offset(elf, address, &offset)) {
        elf->symbol_count = elf_count_symbols(elf);
        elf->symbols = elf_at(elf, offset, elf->symbol_count, sizeof(Elf64_Sym), 8);
        if (elf->symbols == NULL)
            return false;
    }
    return true;
}

enum elf_result elf_open(const char *path, struct elf *elf)
{
    struct stat about;
    *elf = (struct elf){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return ELF_UNREADABLE;
    if (fstat(fd, &about) != 0) {
        close(fd);
        return ELF_UNREADABLE;
    }
    elf->size = (size_t)about.st_size;
    if (elf->size > 0) {
        void *mapped = mmap(NULL, elf->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped == MAP_FAILED) {
            close(fd);
            return ELF_UNREADABLE;
        }
        elf->bytes = mapped;
    }
    close(fd);

    if (elf->size < SELFMAG || memcmp(elf->bytes, ELFMAG, SELFMAG) != 0)
        return ELF_NOT_ELF;
    if (elf->size < sizeof(Elf32_Ehdr) ||
        (elf->bytes[EI_CLASS] != ELFCLASS32 && elf->bytes[EI_CLASS] != ELFCLASS64) ||
        (elf->bytes[EI_DATA] != ELFDATA2LSB && elf->bytes[EI_DATA] != ELFDATA2MSB))
        return ELF_DAMAGED;
    const int our_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
    if (elf->bytes[EI_CLASS] == ELFCLASS32 || elf->bytes[EI_DATA] != our_order)
        return ELF_FOREIGN;
    const Elf64_Ehdr *header = elf_at(elf, 0, 1, sizeof *header, 8);
    if (header == NULL)
        return ELF_DAMAGED;
    if (header->e_machine != ELF_OUR_MACHINE)
        return ELF_FOREIGN;
    elf->header = header;
    elf->segment_count = header->e_phnum;
    elf->segments = elf_at(elf, header->e_phoff, elf->segment_count, sizeof(Elf64_Phdr), 8);
    if (elf->segments == NULL ||
        (elf->segment_count > 0 && header->e_phentsize != sizeof(Elf64_Phdr))) {
        elf->segment_count = 0;
        return ELF_DAMAGED;
    }
    return elf_find_tables(elf) ? ELF_OK : ELF_DAMAGED;
}

void elf_close(struct elf *elf)
{
    if (elf->bytes != NULL)
        munmap((void *)elf->bytes, elf->size);
    *elf = (struct elf){0};
}

const char *elf_machine(const struct elf *elf)
{
    static char text[40];
    static const struct {
        unsigned machine;
        const char *name;
    } known[] = {
        {EM_386, "i386"},
        {EM_X86_64, "x86-64"},
        {EM_ARM, "arm"},
        {EM_AARCH64, "aarch64"},
        {EM_RISCV, "riscv"},
        {EM_PPC, "powerpc"},
        {EM_PPC64, "ppc64"},
        {EM_S390, "s390"},
        {EM_MIPS, "mips"},
        {EM_SPARC, "sparc"},
        {EM_SPARCV9, "sparc64"},
        {EM_IA_64, "ia64"},
        {EM_LOONGARCH, "loongarch"},
    };
    bool big = elf->bytes[EI_DATA] == ELFDATA2MSB;
    unsigned machine = big ? (unsigned)elf->bytes[18] << 8 | elf->bytes[19]
                           : (unsigned)elf->bytes[19] << 8 | elf->bytes[18];
    if (machine == EM_X86_64 && elf->bytes[EI_CLASS] == ELFCLASS32)
        return "x32";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].machine == machine)
            return known[i].name;
    snprintf(text, sizeof text, "machine %u", machine);
    return text;
}

const char *elf_interpreter(const struct elf *elf)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type != PT_INTERP || segment->p_filesz == 0)
            continue;
        const char *text = elf_at(elf, segment->p_offset, segment->p_filesz, 1, 1);
        if (text == NULL || text[segment->p_filesz - 1] != 0)
            return NULL;
        return text;
    }
    return NULL;
}

const char *elf_dynamic_string(const struct elf *elf, int64_t tag, size_t n)
{
    for (size_t i = 0; i < elf->dynamic_count && elf->dynamic[i].d_tag != DT_NULL; i++)
        if (elf->dynamic[i].d_tag == tag && n-- == 0)
            return elf->dynamic[i].d_un.d_val < elf->strings_size
                       ? elf->strings + elf->dynamic[i].d_un.d_val
                       : NULL;
    return NULL;
}

bool elf_has_section(const struct elf *elf, const char *name)
{
    size_t count;
    const Elf64_Shdr *sections = elf_sections(elf, &count);
    if (elf->header->e_shstrndx >= count)
        return false;
    const Elf64_Shdr *table = &sections[elf->header->e_shstrndx];
    const char *names = elf_at(elf, table->sh_offset, table->sh_size, 1, 1);
    if (names == NULL || table->sh_size == 0 || names[table->sh_size - 1] != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (sections[i].sh_name < table->sh_size && strcmp(names + sections[i].sh_name, name) == 0)
            return true;
    return false;
}

bool elf_has_note(const struct elf *elf, const char *owner)
{
    const size_t owner_size = strlen(owner) + 1;
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type != PT_NOTE ||
            elf_at(elf, segment->p_offset, segment->p_filesz, 1, 4) == NULL)
            continue;
        const uint64_t step = segment->p_align == 8 ? 8 : 4;
        uint64_t at = segment->p_offset;
        const uint64_t end = at + segment->p_filesz;
        while (end - at >= sizeof(Elf64_Nhdr)) {
            const Elf64_Nhdr *note = elf_at(elf, at, 1, sizeof *note, 4);
            if (note == NULL)
                break;
            const unsigned char *name = (const unsigned char *)(note + 1);
            uint64_t size = (sizeof *note + note->n_namesz + step - 1) / step * step;
            size = (size + note->n_descsz + step - 1) / step * step;
            /* Some count the padding in. */
            if (note->n_namesz >= owner_size && note->n_namesz < owner_size + step &&
                end - at >= sizeof *note + owner_size && memcmp(name, owner, owner_size) == 0)
                return true;
            if (size > end - at)
                break;
            at += size;
        }
    }
    return false;
}

const char *elf_symbol_name(const struct elf *elf, size_t n)
{
    return elf->symbols[n].st_name < elf->strings_size ? elf->strings + elf->symbols[n].st_name
                                                       : "";
}

bool elf_defines(const struct elf *elf, const char *name)
{
    for (size_t i = 0; i < elf->symbol_count; i++)
        if (elf->symbols[i].st_shndx != SHN_UNDEF && strcmp(elf_symbol_name(elf, i), name) == 0)
            return true;

    size_t count;
    const Elf64_Shdr *sections = elf_sections(elf, &count);
    for (size_t i = 0; i < count; i++) {
        if (sections[i].sh_type != SHT_SYMTAB || sections[i].sh_link >= count)
            continue;
        const Elf64_Shdr *table = &sections[sections[i].sh_link];
        const char *names = elf_at(elf, table->sh_offset, table->sh_size, 1, 1);
        const size_t symbol_count = sections[i].sh_size / sizeof(Elf64_Sym);
        const Elf64_Sym *symbols =
            elf_at(elf, sections[i].sh_offset, symbol_count, sizeof(Elf64_Sym), 8);
        if (names == NULL || table->sh_size == 0 || names[table->sh_size - 1] != 0 ||
            symbols == NULL)
            continue;
        for (size_t s = 0; s < symbol_count; s++)
            if (symbols[s].st_shndx != SHN_UNDEF && symbols[s].st_name < table->sh_size &&
                strcmp(names + symbols[s].st_name, name) == 0)
                return true;
    }
    return false;
}

bool elf_contains(const struct elf *elf, const char *text)
{
    return memmem(elf->bytes, elf->size, text, strlen(text)) != NULL;
}

#if defined(__x86_64__)
/* Are the two bytes at `at` part of a number: the distance of a call or a jump, an address relative
 * to %rip, or one whose next byte is zero, which begins no instruction that compilers make? */
static bool elf_in_number(const unsigned char *at)
{
    const bool distance = at[-2] == 0xe8 || at[-2] == 0xe9 || at[-1] == 0xe8 || at[-1] == 0xe9 ||
                          (at[-2] == 0x0f && (at[-1] & 0xf0) == 0x80);
    const bool address = (at[-1] & 0xc7) == 0x05 || (at[-2] & 0xc7) == 0x05;
    return distance || address || at[2] == 0;
}

/* `mov $number, %eax`: not into %r8d, which has a prefix, nor the second byte of a load or a store;
 * and zero is loaded otherwise. */
static bool elf_loads_number(const unsigned char *at)
{
    return at[0] == 0xb8 && (at[-1] & 0xf0) != 0x40 && (at[-1] & 0xf9) != 0x89 &&
           (at[1] != 0 || at[2] != 0) && at[2] < 3 && at[3] == 0 && at[4] == 0;
}

/* Is it a `syscall`? Its two bytes are found in much else, so a number must be loaded before it. */
static bool elf_is_syscall(const unsigned char *at, const unsigned char *start)
{
    if (at - start < 6 || elf_in_number(at))
        return false;
    for (int back = 5; back <= 32 && at - start > back; back++)
        if (elf_loads_number(at - back))
            return true;
    return false;
}

size_t elf_inline_syscalls(const struct elf *elf)
{
    size_t found = 0;
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        const unsigned char *code = elf_at(elf, segment->p_offset, segment->p_filesz, 1, 1);
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0 || code == NULL)
            continue;
        for (size_t at = 0; at + 2 < segment->p_filesz; at++)
            if (code[at] == 0x0f && code[at + 1] == 0x05 && elf_is_syscall(code + at, code))
                found++;
    }
    return found;
}
#else
/* `mov w8/x8, #number` just before `svc #0`. */
size_t elf_inline_syscalls(const struct elf *elf)
{
    size_t found = 0;
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        const size_t count = segment->p_filesz / 4;
        const uint32_t *code = elf_at(elf, segment->p_offset, count, 4, 4);
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0 || code == NULL)
            continue;
        for (size_t at = 1; at < count; at++)
            for (size_t back = 1; code[at] == 0xd4000001 && back <= 8 && back <= at; back++)
                if ((code[at - back] & 0x7fe0001f) == 0x52800008) {
                    found++;
                    break;
                }
    }
    return found;
}
#endif
