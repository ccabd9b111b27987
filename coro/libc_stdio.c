/* libc's jump tables for FILE streams. Reads, writes and closes of a stream go through slots of
 * tables in one read-only section of libc, never through read() and write() that a preloaded library
 * could take over; every slot that holds the plain functions is replaced in place (FACTS).
 */
#include "libc_stdio.h"

#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "sys.h"

/* struct _IO_jump_t of libio/libioP.h: two unused words, then the functions. */
enum { SLOT_READ = 14, SLOT_WRITE = 15, SLOT_CLOSE = 17, SLOTS = 21 };

extern ssize_t _IO_file_read(FILE *, void *, ssize_t);
extern ssize_t _IO_file_write(FILE *, const void *, ssize_t);
extern int _IO_file_close(FILE *);
extern const char _IO_file_jumps[]; /* one of the tables */

struct relro {
    uintptr_t low, end;
};

/* The part of libc that is read-only after relocation, where the tables are. */
static int find_relro(struct dl_phdr_info *info, size_t size, void *data)
{
    struct relro *found = data;
    uintptr_t table = (uintptr_t)_IO_file_jumps;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_GNU_RELRO && table >= low && table < low + p->p_memsz) {
            found->low = low;
            found->end = low + p->p_memsz;
            return 1;
        }
    }
    return 0;
}

/* Is there a table at p? Its first words are 0, and each of its functions lies in libc. */
static bool is_table(const uintptr_t *p, uintptr_t text)
{
    if (p[0] || p[1])
        return false;
    for (int i = 2; i < SLOTS; i++)
        if (p[i] < text || p[i] >= (uintptr_t)p)
            return false;
    return true;
}

const char *libc_stdio_hook(const struct libc_stdio_hooks *hooks)
{
    struct relro relro = {0};
    if (!dl_iterate_phdr(find_relro, &relro))
        return "libc's tables of stream functions were not found.";
    uintptr_t page_low = relro.low & ~(uintptr_t)4095;
    size_t size = ((relro.end + 4095) & ~(uintptr_t)4095) - page_low;
    uintptr_t text = (uintptr_t)_IO_file_read & ~(uintptr_t)0xffffff; /* libc is below 16 MiB */
    int reads = 0;
    if (sys_3(SYS_mprotect, page_low, size, PROT_READ | PROT_WRITE))
        return "libc's tables of stream functions cannot be made writable.";
    for (uintptr_t *p = (uintptr_t *)relro.low; (uintptr_t)(p + SLOTS) <= relro.end; p++) {
        if (!is_table(p, text - 0x1000000))
            continue;
        if (p[SLOT_READ] == (uintptr_t)_IO_file_read) {
            p[SLOT_READ] = (uintptr_t)hooks->read;
            reads++;
        }
        if (p[SLOT_WRITE] == (uintptr_t)_IO_file_write)
            p[SLOT_WRITE] = (uintptr_t)hooks->write;
        if (p[SLOT_CLOSE] == (uintptr_t)_IO_file_close)
            p[SLOT_CLOSE] = (uintptr_t)hooks->close;
        p += SLOTS - 1;
    }
    sys_3(SYS_mprotect, page_low, size, PROT_READ);
    return reads ? NULL : "libc's tables of stream functions look other than expected.";
}

ssize_t libc_stdio_read(FILE *f, void *buf, ssize_t n)
{
    return _IO_file_read(f, buf, n);
}

int libc_stdio_close(FILE *f)
{
    return _IO_file_close(f);
}

bool libc_stdio_uncancelled(const FILE *f)
{
    enum { NOT_CANCEL = 2 }; /* _IO_FLAGS2_NOTCANCEL */
    return f->_flags2 & NOT_CANCEL;
}

/* As _IO_new_file_write() ends: an error is remembered, a known position moves on. */
void libc_stdio_wrote(FILE *f, ssize_t n, bool error)
{
    enum { ERR_SEEN = 0x20 }; /* _IO_ERR_SEEN */
    if (error)
        f->_flags |= ERR_SEEN;
    if (f->_offset >= 0)
        f->_offset += n;
}
