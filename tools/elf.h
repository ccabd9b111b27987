/* What an ELF file says of itself. The file may be anything: nothing in it is believed before it is
 * checked against the file's size, and nothing of it is ever executed. */
#ifndef TOOLS_ELF_H
#define TOOLS_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define ELF_OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define ELF_OUR_MACHINE EM_AARCH64
#else
#error "no ELF machine number for this architecture"
#endif

/* An open file; mapped read-only, private to who opened it. */
struct elf {
    const unsigned char *bytes;
    size_t size;
    const Elf64_Ehdr *header; /* in the file's bytes; NULL unless 64 bits, our order and machine */
    const Elf64_Phdr *segments;
    size_t segment_count;
    const Elf64_Dyn *dynamic; /* NULL: no dynamic section */
    size_t dynamic_count;
    const char *strings; /* the dynamic string table, which ends in a zero byte; or NULL */
    size_t strings_size;
    const Elf64_Sym *symbols; /* the dynamic symbol table, or NULL */
    size_t symbol_count;
};

enum elf_result {
    ELF_OK,
    ELF_UNREADABLE, /* errno says why */
    ELF_NOT_ELF,
    ELF_FOREIGN, /* an ELF file for another machine, word size or byte order */
    ELF_DAMAGED, /* its tables lie outside the file */
};

/* Map `path` and find its tables. After anything but ELF_UNREADABLE the first bytes can be read
 * and elf_close() is due. */
enum elf_result elf_open(const char *path, struct elf *elf);
void elf_close(struct elf *elf);

/* Name of the machine of a foreign file, as users know it: "aarch64", "i386", "machine 99". The
 * text may be static memory of this function. */
const char *elf_machine(const struct elf *elf);

/* The path of its program interpreter (the dynamic loader), or NULL. */
const char *elf_interpreter(const struct elf *elf);

/* The n-th (from 0) string of the dynamic section under `tag` (DT_NEEDED, DT_RUNPATH, ...), or
 * NULL when there are not so many. */
const char *elf_dynamic_string(const struct elf *elf, int64_t tag, size_t n);

/* Does it have a section of this name? False where section headers were stripped. */
bool elf_has_section(const struct elf *elf, const char *name);

/* Does a note of this owner exist? */
bool elf_has_note(const struct elf *elf, const char *owner);

/* The name of dynamic symbol n (0 .. symbol_count - 1); "" where it has none. */
const char *elf_symbol_name(const struct elf *elf, size_t n);

/* Is there a dynamic or, failing that, static symbol of this name, with a definition? */
bool elf_defines(const struct elf *elf, const char *name);

/* Does the text stand anywhere in the file? Reads all of it. */
bool elf_contains(const struct elf *elf, const char *text);

/* How many system call instructions, with a number loaded just before, lie in its code. One whose
 * number comes from elsewhere is not counted. */
size_t elf_inline_syscalls(const struct elf *elf);

#endif
