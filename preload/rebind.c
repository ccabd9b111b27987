/* A library that is opened with RTLD_DEEPBIND looks for a symbol in itself and in what it needs,
 * libc included, before it looks where libgreen stands. To drop the flag would mix up the symbols
 * that the program means to keep apart (PHP opens its extensions so, below an Apache that brings
 * other versions of their libraries). So the flag stays, and afterwards those references that found
 * libc's own function are pointed to ours, one by one: in the library itself and in what it brought
 * along.
 */
#include "rebind.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "coro/sys.h"
#include "patch.h"

#if defined(__x86_64__)
enum { RELOC_JUMP = R_X86_64_JUMP_SLOT, RELOC_DATA = R_X86_64_GLOB_DAT, RELOC_WORD = R_X86_64_64 };
#elif defined(__aarch64__)
enum {
    RELOC_JUMP = R_AARCH64_JUMP_SLOT,
    RELOC_DATA = R_AARCH64_GLOB_DAT,
    RELOC_WORD = R_AARCH64_ABS64
};
#endif

enum { REBIND_MAX = 256, REBIND_PAGE = 4096 };

/* One loaded object, as far as it matters here. */
struct rebind_object {
    struct link_map *map;
    void *handle; /* of the dlopen() that brought it: where its symbols are looked up */
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * jumps, *relocations;
    size_t jumps_size, relocations_size;
    uintptr_t protected_from, protected_to; /* pages that are read-only after relocation */
};

/* The objects behind the first `skip`, by an address in each. */
struct rebind_list {
    unsigned skip, seen, count;
    const void *dynamic[REBIND_MAX];
    uintptr_t protected_from[REBIND_MAX], protected_to[REBIND_MAX];
};

static int rebind_note(struct dl_phdr_info *info, size_t size, void *data)
{
    struct rebind_list *list = data;
    (void)size;
    if (list->seen++ < list->skip || list->count == REBIND_MAX)
        return 0;
    unsigned at = list->count;
    list->dynamic[at] = NULL;
    list->protected_from[at] = list->protected_to[at] = 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t address = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC) {
            list->dynamic[at] = (const void *)address;
        } else if (header->p_type == PT_GNU_RELRO) {
            list->protected_from[at] = address & ~(uintptr_t)(REBIND_PAGE - 1);
            list->protected_to[at] = (address + header->p_memsz) & ~(uintptr_t)(REBIND_PAGE - 1);
        }
    }
    if (list->dynamic[at])
        list->count++;
    return 0;
}

/* The object that holds an address, or NULL. */
static struct link_map *rebind_holder(const void *address)
{
    Dl_info info;
    struct link_map *map = NULL;
    return dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

static void rebind_open(struct rebind_object *object)
{
    for (const ElfW(Dyn) *dyn = object->map->l_ld; dyn->d_tag != DT_NULL; dyn++) {
        /* Relocated in place by the loader, as for every object with a writable dynamic section. */
        const void *address = (const void *)dyn->d_un.d_ptr;
        switch (dyn->d_tag) {
        case DT_SYMTAB:
            object->symbols = address;
            break;
        case DT_STRTAB:
            object->strings = address;
            break;
        case DT_JMPREL:
            object->jumps = address;
            break;
        case DT_PLTRELSZ:
            object->jumps_size = dyn->d_un.d_val;
            break;
        case DT_RELA:
            object->relocations = address;
            break;
        case DT_RELASZ:
            object->relocations_size = dyn->d_un.d_val;
            break;
        default:
            break;
        }
    }
}

/* What an object may be bound to. */
struct rebind_targets {
    struct link_map *us, *libc;
    void *handle; /* of libgreen */
};

/* libgreen's function of that name, or NULL. */
static void *rebind_ours(const char *name, const struct rebind_targets *to)
{
    void *address = dlsym(to->handle, name);
    return address && rebind_holder(address) == to->us ? address : NULL;
}

/* A slot that has not been bound yet leads back into its own object. */
static bool rebind_leads_to_libc(const struct rebind_object *object, void *const *slot,
                                 const char *name, const struct rebind_targets *to)
{
    struct link_map *holder = rebind_holder(*slot);
    if (holder == object->map)
        holder = rebind_holder(dlsym(object->handle, name));
    return holder == to->libc;
}

static void rebind_store(const struct rebind_object *object, void **slot, void *address)
{
    uintptr_t at = (uintptr_t)slot;
    bool protected = at >= object->protected_from && at < object->protected_to;
    if (protected &&
        sys_3(SYS_mprotect, object->protected_from, object->protected_to - object->protected_from,
              PROT_READ | PROT_WRITE) < 0)
        return;
    __atomic_store_n(slot, address, __ATOMIC_RELEASE);
    if (protected)
        sys_3(SYS_mprotect, object->protected_from, object->protected_to - object->protected_from,
              PROT_READ);
}

static void rebind_table(const struct rebind_object *object, const ElfW(Rela) * table, size_t size,
                         const struct rebind_targets *to)
{
    for (size_t i = 0; table && i < size / sizeof *table; i++) {
        unsigned type = (unsigned)ELF64_R_TYPE(table[i].r_info);
        if ((type != RELOC_JUMP && type != RELOC_DATA && type != RELOC_WORD) || table[i].r_addend)
            continue;
        const ElfW(Sym) *symbol = &object->symbols[ELF64_R_SYM(table[i].r_info)];
        const char *name = object->strings + symbol->st_name;
        if (symbol->st_shndx != SHN_UNDEF || !*name)
            continue;
        void **slot = (void **)(object->map->l_addr + table[i].r_offset);
        void *ours = rebind_ours(name, to);
        if (ours && rebind_leads_to_libc(object, slot, name, to))
            rebind_store(object, slot, ours);
    }
}

static bool rebind_table_refers(const struct rebind_object *object, const ElfW(Rela) * table,
                                size_t size, const char *name)
{
    for (size_t i = 0; table && i < size / sizeof *table; i++) {
        const ElfW(Sym) *symbol = &object->symbols[ELF64_R_SYM(table[i].r_info)];
        if (symbol->st_shndx == SHN_UNDEF && !strcmp(object->strings + symbol->st_name, name))
            return true;
    }
    return false;
}

bool rebind_refers(const char *name)
{
    struct rebind_list list = {0};
    const struct link_map *us = rebind_holder(_DYNAMIC);
    dl_iterate_phdr(rebind_note, &list);
    for (unsigned i = 0; i < list.count; i++) {
        struct rebind_object object = {.map = rebind_holder(list.dynamic[i])};
        if (!object.map || object.map == us)
            continue;
        rebind_open(&object);
        if (object.symbols && object.strings &&
            (rebind_table_refers(&object, object.jumps, object.jumps_size, name) ||
             rebind_table_refers(&object, object.relocations, object.relocations_size, name)))
            return true;
    }
    return false;
}

unsigned rebind_count(void)
{
    struct rebind_list list = {.skip = ~0U};
    dl_iterate_phdr(rebind_note, &list);
    return list.seen;
}

void rebind_since(unsigned count, void *handle)
{
    struct rebind_list list = {.skip = count};
    struct rebind_targets to = {
        .us = rebind_holder(_DYNAMIC),
        .libc = rebind_holder((const void *)real.__libc_start_main),
    };
    dl_iterate_phdr(rebind_note, &list);
    /* Only what dlopen() returned can be searched. libgreen is never unloaded. */
    if (!list.count || !to.us || !(to.handle = real.dlopen(to.us->l_name, RTLD_NOLOAD | RTLD_LAZY)))
        return;
    for (unsigned i = 0; i < list.count; i++) {
        struct rebind_object object = {
            .map = rebind_holder(list.dynamic[i]),
            .handle = handle,
            .protected_from = list.protected_from[i],
            .protected_to = list.protected_to[i],
        };
        if (!object.map || object.map == to.us || object.map == to.libc)
            continue;
        rebind_open(&object);
        if (object.symbols && object.strings) {
            rebind_table(&object, object.jumps, object.jumps_size, &to);
            rebind_table(&object, object.relocations, object.relocations_size, &to);
        }
    }
    dlclose(to.handle);
}
