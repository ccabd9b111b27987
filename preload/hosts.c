/* One open-addressing table of names and addresses over the file's text. A line counts under the
 * rules of libc's parser: ::1 is 127.0.0.1 too, and a mapped address is its IPv4 address too. */
#include "hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "dnsfile.h"
#include "hub/alloc.h"

enum { FOR_FOUR = 1, FOR_SIX = 2 };

struct entry {
    const char *name; /* in the text; NULL for an address */
    uint8_t address[16];
    uint8_t length;   /* of the address: 4, 16; 0 for a name */
    uint8_t families; /* FOR_FOUR, FOR_SIX: a name is found under these; 0: an empty place */
};

struct hosts {
    char *text;
    struct entry *table;
    size_t room; /* a power of two, more than twice `used` */
    size_t used;
};

/* ---- The table ---- */

static uint64_t mix(uint64_t hash, unsigned char byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001B3);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static uint64_t entry_hash(const struct entry *e)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    if (e->name)
        for (const char *c = e->name; *c; c++)
            hash = mix(hash, lower(*c));
    for (unsigned i = 0; i < e->length; i++)
        hash = mix(hash, e->address[i]);
    return hash ^ hash >> 29;
}

static bool entry_same(const struct entry *a, const struct entry *b)
{
    if (a->length != b->length)
        return false;
    return a->name ? b->name && !strcasecmp(a->name, b->name)
                   : !memcmp(a->address, b->address, a->length);
}

/* Where e is, or belongs. */
static struct entry *table_place(const struct hosts *h, const struct entry *e)
{
    size_t i = entry_hash(e) & (h->room - 1);
    while (h->table[i].families && !entry_same(&h->table[i], e))
        i = (i + 1) & (h->room - 1);
    return &h->table[i];
}

static bool table_grow(struct hosts *h)
{
    struct hosts larger = *h;
    larger.room = h->room ? h->room * 2 : 64;
    larger.table = green_calloc(larger.room, sizeof *larger.table);
    if (!larger.table)
        return false;
    for (size_t i = 0; i < h->room; i++)
        if (h->table[i].families)
            *table_place(&larger, &h->table[i]) = h->table[i];
    green_free(h->table);
    *h = larger;
    return true;
}

static bool table_add(struct hosts *h, const struct entry *e)
{
    if (h->used * 2 >= h->room && !table_grow(h))
        return false;
    struct entry *place = table_place(h, e);
    uint8_t families = place->families;
    if (!families) {
        *place = *e;
        h->used++;
    }
    place->families |= e->families;
    return true;
}

static const struct entry *table_find(const struct hosts *h, const struct entry *e)
{
    const struct entry *place = h && h->room ? table_place(h, e) : NULL;
    return place && place->families ? place : NULL;
}

/* ---- The file ---- */

/* Both forms of the address of a line; how many there are. */
static unsigned line_addresses(const char *word, struct entry forms[2])
{
    struct in6_addr six;
    struct entry *four = &forms[0];
    memset(forms, 0, 2 * sizeof *forms);
    four->families = FOR_FOUR;
    four->length = 4;
    if (inet_pton(AF_INET, word, four->address) == 1)
        return 1;
    if (inet_pton(AF_INET6, word, &six) != 1)
        return 0;
    forms[1].families = FOR_SIX;
    forms[1].length = 16;
    memcpy(forms[1].address, &six, 16);
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    if (IN6_IS_ADDR_V4MAPPED(&six))
        memcpy(four->address, &six.s6_addr[12], 4);
    else if (IN6_IS_ADDR_LOOPBACK(&six))
        memcpy(four->address, loopback, 4);
    else
        four->families = 0;
    return 2;
}

static bool line_add(struct hosts *h, char *line)
{
    struct entry forms[2];
    char *word = dns_file_word(&line);
    unsigned count = word ? line_addresses(word, forms) : 0;
    uint8_t families = (uint8_t)(count ? forms[0].families | forms[1].families : 0);
    word = count ? dns_file_word(&line) : NULL;
    if (!word)
        return true; /* libc finds nothing in such a line */
    for (unsigned i = 0; i < count; i++)
        if (forms[i].families && !table_add(h, &forms[i]))
            return false;
    for (; word; word = dns_file_word(&line))
        if (!table_add(h, &(struct entry){.name = word, .families = families}))
            return false;
    return true;
}

struct hosts *hosts_read(const char *path, bool *lost)
{
    char *text = dns_file_read(path), *line;
    if (!text)
        return NULL;
    struct hosts *h = green_calloc(1, sizeof *h);
    *lost = !h;
    if (!h) {
        green_free(text);
        return NULL;
    }
    h->text = text;
    while (!*lost && (line = dns_file_line(&text)))
        *lost = !line_add(h, line);
    return h;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    green_free(h->table);
    green_free(h->text);
    green_free(h);
}

/* ---- Looking ---- */

enum hosts_answer hosts_name(const struct hosts *h, const char *name, int family)
{
    const struct entry *e = table_find(h, &(struct entry){.name = name});
    int wanted = family == AF_INET ? FOR_FOUR : family == AF_INET6 ? FOR_SIX : FOR_FOUR | FOR_SIX;
    if (!e)
        return HOSTS_NO;
    return e->families & wanted ? HOSTS_YES : HOSTS_OTHER;
}

bool hosts_address(const struct hosts *h, const void *address, int family)
{
    struct entry e = {.length = family == AF_INET ? 4 : 16};
    memcpy(e.address, address, e.length);
    return table_find(h, &e) != NULL;
}
