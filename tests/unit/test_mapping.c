/* What an address points to, as futex waits must know it: by the kernel's query and by its list. */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/mapping.c"

static void *map(int protection, int flags, int fd)
{
    void *p = mmap(NULL, 3 * 4096, protection, flags, fd, 0);
    cr_assert_neq(p, MAP_FAILED);
    return p;
}

/* Both ways must say so; the first may be missing in this kernel. */
static void expect(const void *at, enum mapping what)
{
    enum mapping asked = what;
    place_query((uintptr_t)at, &asked);
    cr_assert_eq(asked, what);
    cr_assert_eq(place_read((uintptr_t)at), what);
    cr_assert_eq(mapping_at((uintptr_t)at), what);
    cr_assert_eq(mapping_readable((uintptr_t)at), what != MAPPING_NONE);
}

Test(mapping, private_memory_is_ours)
{
    static int in_bss;
    int on_stack;
    const char *anonymous = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    expect(&in_bss, MAPPING_OURS);
    expect(&on_stack, MAPPING_OURS);
    expect(anonymous, MAPPING_OURS);
    expect(anonymous + 3 * 4096 - 1, MAPPING_OURS);
}

Test(mapping, shared_memory_is_shared)
{
    int fd = memfd_create("test", 0);
    cr_assert_eq(ftruncate(fd, 3 * 4096), 0);
    expect(map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1), MAPPING_SHARED);
    expect(map(PROT_READ | PROT_WRITE, MAP_SHARED, fd), MAPPING_SHARED);
    expect(map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), MAPPING_OURS);
}

Test(mapping, nothing_is_there)
{
    char *hole = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    munmap(hole + 4096, 4096);
    expect(hole + 4096, MAPPING_NONE);
    expect(hole + 2 * 4096, MAPPING_OURS);
    expect(map(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1), MAPPING_NONE);
    expect(NULL, MAPPING_NONE);
    expect((void *)16, MAPPING_NONE);
    expect((void *)-4096, MAPPING_NONE);
}

/* Memory that was private a moment ago: the answer must not be the old one. */
Test(mapping, changes_are_seen)
{
    char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    enum mapping asked;
    if (!place_query((uintptr_t)p, &asked))
        cr_skip_test("this kernel has no PROCMAP_QUERY");
    expect(p, MAPPING_OURS);
    cr_assert_eq(
        mmap(p, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), p);
    expect(p, MAPPING_SHARED);
    munmap(p, 4096);
    expect(p + 4096, MAPPING_OURS);
    cr_assert_eq(mapping_at((uintptr_t)p), MAPPING_NONE);
}

/* As in a kernel without the query: the list of mappings serves, and is asked again after a while.
 */
Test(mapping, works_without_the_query)
{
    char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    atomic_store(&maps_fd, -2);
    cr_assert_eq(mapping_at((uintptr_t)p), MAPPING_OURS);
    cr_assert_eq(
        mmap(p, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), p);
    usleep(300000);
    cr_assert_eq(mapping_at((uintptr_t)p), MAPPING_SHARED);
}
