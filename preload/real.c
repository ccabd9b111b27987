/* Finds libc's own functions behind the symbols that libgreen exports.
 *
 * A constructor of a library that initialises before us, an IFUNC resolver, or malloc itself may
 * call a wrapper before anything of ours has run. dlsym() is no help there: it takes the loader's
 * lock, may allocate, and may be interposed. So the symbol tables of the objects that come after
 * libgreen in the search order are read directly, which needs nothing but memory that the loader
 * has already mapped and relocated.
 */
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "gen/real.h"
#include "real_table.h"

/* Bit 15 of a version index: not the default version of its name. */
#define VERSION_HIDDEN 0x8000

/* The parts of a loaded object that a lookup reads. Immutable once the object is relocated. */
struct object {
    ElfW(Addr) base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    const ElfW(Half) * versions;
    const ElfW(Verdef) * version_defs;
};

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* The loader relocates the addresses in most objects' dynamic sections in place, but leaves those
 * of a read-only section (the vDSO's) as they were. */
static const void *dynamic_address(const struct link_map *map, ElfW(Addr) value)
{
    return (const void *)(value < map->l_addr ? map->l_addr + value : value);
}

static bool object_open(struct object *object, const struct link_map *map)
{
    *object = (struct object){.base = map->l_addr};
    for (const ElfW(Dyn) *dyn = map->l_ld; dyn && dyn->d_tag != DT_NULL; dyn++) {
        const void *address = dynamic_address(map, dyn->d_un.d_ptr);
        switch (dyn->d_tag) {
        case DT_SYMTAB:
            object->symbols = address;
            break;
        case DT_STRTAB:
            object->strings = address;
            break;
        case DT_GNU_HASH:
            object->gnu_hash = address;
            break;
        case DT_VERSYM:
            object->versions = address;
            break;
        case DT_VERDEF:
            object->version_defs = address;
            break;
        default:
            break;
        }
    }
    return object->symbols && object->strings && object->gnu_hash;
}

static bool version_is(const struct object *object, unsigned index, const char *version)
{
    const ElfW(Verdef) *def = object->version_defs;
    while (def) {
        if (def->vd_ndx == index) {
            const ElfW(Verdaux) *aux = (const void *)((const char *)def + def->vd_aux);
            return strcmp(object->strings + aux->vda_name, version) == 0;
        }
        def = def->vd_next ? (const void *)((const char *)def + def->vd_next) : NULL;
    }
    return false;
}

/* How well symbol number `i` serves: 0 not at all, 1 an old version of the name, 2 the one wanted. */
static int symbol_rank(const struct object *object, uint32_t i, const char *name,
                       const char *version)
{
    const ElfW(Sym) *symbol = &object->symbols[i];
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC) ||
        strcmp(object->strings + symbol->st_name, name) != 0)
        return 0;
    if (!object->versions)
        return 2;
    unsigned index = object->versions[i];
    if (version)
        return version_is(object, index & (VERSION_HIDDEN - 1), version) ? 2 : 0;
    return index & VERSION_HIDDEN ? 1 : 2;
}

static const ElfW(Sym) * object_find(const struct object *object, const char *name, uint32_t hash,
                                     const char *version)
{
    const uint32_t *table = object->gnu_hash;
    uint32_t bucket_count = table[0];
    uint32_t first = table[1];
    uint32_t word_count = table[2];
    uint32_t shift = table[3];
    const ElfW(Addr) *bloom = (const void *)(table + 4);
    const uint32_t *buckets = (const uint32_t *)(bloom + word_count);
    const uint32_t *chains = buckets + bucket_count;
    const unsigned bits = 8 * sizeof *bloom;

    ElfW(Addr) word = bloom[hash / bits % word_count];
    if (!(word >> hash % bits & word >> (hash >> shift) % bits & 1))
        return NULL;

    const ElfW(Sym) *found = NULL;
    int found_rank = 0;
    for (uint32_t i = buckets[hash % bucket_count]; i >= first && i != 0; i++) {
        uint32_t chain = chains[i - first];
        if ((chain | 1) == (hash | 1)) {
            int rank = symbol_rank(object, i, name, version);
            if (rank > found_rank) {
                found = &object->symbols[i];
                found_rank = rank;
            }
        }
        if (chain & 1)
            break;
    }
    return found;
}

static void *symbol_address(const struct object *object, const ElfW(Sym) * symbol)
{
    ElfW(Addr) address = object->base + symbol->st_value;
    if (ELF64_ST_TYPE(symbol->st_info) != STT_GNU_IFUNC)
        return (void *)address;
#if defined(__aarch64__)
    /* AAPCS64 resolvers take AT_HWCAP, with bit 62 set where a second argument follows. */
    struct {
        unsigned long size, hwcap, hwcap2;
    } arg = {sizeof arg, getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
    return ((void *(*)(unsigned long, const void *))address)(arg.hwcap | 1UL << 62, &arg);
#else
    return ((void *(*)(void))address)();
#endif
}

/* The objects of the main namespace stand in the list in the order in which a symbol is looked up;
 * those before libgreen, libgreen itself and the vDSO (which no reference is ever bound to) are
 * passed over. A program that has libgreen's code linked in (a unit test) is its own libgreen. */
static const struct link_map *first_after_us(void)
{
    const struct link_map *map = _r_debug.r_map;
    while (map && map->l_ld != _DYNAMIC)
        map = map->l_next;
    return map ? map->l_next : NULL;
}

static bool is_vdso(const struct link_map *map)
{
    return map->l_addr != 0 && map->l_addr == getauxval(AT_SYSINFO_EHDR);
}

void *real_lookup(const char *name, const char *version)
{
    uint32_t hash = hash_of(name);
    for (const struct link_map *map = first_after_us(); map; map = map->l_next) {
        struct object object;
        if (is_vdso(map) || !object_open(&object, map))
            continue;
        const ElfW(Sym) *symbol = object_find(&object, name, hash, version);
        if (symbol)
            return symbol_address(&object, symbol);
    }
    return NULL;
}

void real_bind(void)
{
    void **slots = (void **)&real;
    void *const *fallbacks = (void *const *)&missing;
    for (size_t i = 0; i < real_slot_count; i++) {
        void *address = real_lookup(real_slots[i].name, real_slots[i].version);
        /* Several threads may bind at once; all store the same. */
        __atomic_store_n(&slots[i], address ? address : fallbacks[i], __ATOMIC_RELAXED);
    }
}
