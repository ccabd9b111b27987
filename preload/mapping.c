/* Who can see a futex word: decided from the mapping that it lies in.
 *
 * A wait on a word that is not private by its operation must be seen by other processes if they can
 * reach the word, and only the kernel sees them. But C++'s std::atomic::wait uses that operation
 * for words of every kind, mostly on memory that nobody else can reach: those wait in our queue. A
 * page may become part of a shared mapping at any time, so the kernel is asked each time, where it
 * has a quick answer.
 */
#include "preload/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>

#include "coro/sys.h"
#include "hub/hub.h"
#include "preload/thread.h"

/* ---- What was learned ---- */

/* An entry: the page's number, when it was learned in eighths of a second, the place; 0 is none. */
enum { PAGE_SHIFT = 12, PLACES = 1024, PLACE_BITS = 2, TIME_BITS = 20 };
static _Atomic uint64_t places[PLACES];

static uint32_t place_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint32_t)(now.tv_sec * 8 + now.tv_nsec / 125000000) & ((1u << TIME_BITS) - 1);
}

static _Atomic uint64_t *place_slot(uintptr_t address)
{
    return &places[(address >> PAGE_SHIFT) % PLACES];
}

static void place_learn(uintptr_t address, enum mapping place)
{
    uint64_t page = address >> PAGE_SHIFT;
    uint64_t entry =
        place == MAPPING_NONE ? 0 : (page << TIME_BITS | place_time()) << PLACE_BITS | place;
    atomic_store_explicit(place_slot(address), entry, memory_order_relaxed);
}

/* MAPPING_NONE: not known. */
static enum mapping place_known(uintptr_t address, bool recent)
{
    uint64_t entry = atomic_load_explicit(place_slot(address), memory_order_relaxed);
    if (entry >> (TIME_BITS + PLACE_BITS) != address >> PAGE_SHIFT)
        return MAPPING_NONE;
    uint32_t when = (uint32_t)(entry >> PLACE_BITS) & ((1u << TIME_BITS) - 1);
    if (recent && when != place_time())
        return MAPPING_NONE;
    return (enum mapping)(entry & ((1u << PLACE_BITS) - 1));
}

/* ---- Asking the kernel: PROCMAP_QUERY, since Linux 6.11 ---- */

struct procmap_query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};

enum { VMA_READABLE = 1, VMA_SHARED = 8 };
#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

/* /proc/self/maps, opened by this process: a child must have its own. -1: not yet; -2: useless. */
static _Atomic int maps_fd = -1;
static _Atomic uint32_t maps_epoch;

static int maps_open(void)
{
    return (int)sys_4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
}

static int maps_kept(void)
{
    int fd = atomic_load(&maps_fd);
    if (fd == -2 || (fd >= 0 && atomic_load(&maps_epoch) == thread_epoch))
        return fd;
    int made = maps_open();
    if (made < 0)
        return -1;
    made = fd_make_private(made);
    atomic_store(&maps_epoch, thread_epoch);
    if (!atomic_compare_exchange_strong(&maps_fd, &fd, made)) {
        fd_private_closed(made);
        sys_1(SYS_close, made);
        return fd;
    }
    return made;
}

static bool place_query(uintptr_t address, enum mapping *place)
{
    struct procmap_query q = {.size = sizeof q, .query_addr = address};
    int fd = maps_kept();
    if (fd < 0)
        return false;
    long r = sys_3(SYS_ioctl, fd, PROCMAP_QUERY_IOCTL, &q);
    if (r == -ENOENT) {
        *place = MAPPING_NONE;
        return true;
    }
    if (r < 0) {
        atomic_store(&maps_fd, -2);
        fd_private_closed(fd);
        sys_1(SYS_close, fd);
        return false;
    }
    *place = !(q.vma_flags & VMA_READABLE) ? MAPPING_NONE
             : q.vma_flags & VMA_SHARED    ? MAPPING_SHARED
                                           : MAPPING_OURS;
    return true;
}

/* ---- Reading the list, on older kernels ---- */

/* One line: "start-end rwxp ...". A character at a time, because lines end where they like. */
struct maps_reader {
    uintptr_t number, start;
    unsigned field; /* 0 start, 1 end, 2 permissions, 3 the rest */
    unsigned column;
    bool readable, shared;
};

/* True when c completes the permissions of a line. */
static bool maps_feed(struct maps_reader *m, char c)
{
    if (c == '\n') {
        *m = (struct maps_reader){0};
        return false;
    }
    if (m->field < 2) {
        if (c == '-' || c == ' ') {
            if (m->field == 0) {
                m->start = m->number;
                m->number = 0;
            }
            m->field++;
        } else {
            m->number = m->number << 4 | (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        return false;
    }
    if (m->field == 3)
        return false;
    if (m->column == 0)
        m->readable = c == 'r';
    if (m->column == 3) {
        m->shared = c == 's';
        m->field = 3;
        return true;
    }
    m->column++;
    return false;
}

static enum mapping place_read(uintptr_t address)
{
    int fd = maps_open();
    if (fd < 0)
        return MAPPING_SHARED;
    enum mapping place = MAPPING_NONE;
    struct maps_reader m = {0};
    char text[512];
    bool found = false;
    for (long n; !found && (n = sys_3(SYS_read, fd, text, sizeof text)) > 0;) {
        for (long i = 0; i < n && !found; i++) {
            if (maps_feed(&m, text[i]) && m.start <= address && address < m.number) {
                place = !m.readable ? MAPPING_NONE : m.shared ? MAPPING_SHARED : MAPPING_OURS;
                found = true;
            }
        }
    }
    sys_1(SYS_close, fd);
    return place;
}

enum mapping mapping_at(uintptr_t address)
{
    enum mapping place;
    if (!place_query(address, &place)) {
        place = place_known(address, true);
        if (place != MAPPING_NONE)
            return place;
        place = place_read(address);
    }
    place_learn(address, place);
    return place;
}

bool mapping_readable(uintptr_t address)
{
    return place_known(address, false) != MAPPING_NONE || mapping_at(address) != MAPPING_NONE;
}
