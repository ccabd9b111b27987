#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libraries.h"
#include "patches.h"
#include "say.h"

enum check_how { CHECK_ALWAYS, CHECK_MAYBE };

struct check_blocking {
    const char *name;
    enum check_how how;
    const char *what;
};

static const struct check_blocking check_blocking[] = {
#define BLOCKS(how, name, what) {#name, CHECK_##how, what},
#include "blocking.def"
#undef BLOCKS
};

/* What becomes of a function that somebody asks for. */
enum check_fate {
    CHECK_PATCHED,
    CHECK_GROUP_OFF, /* it has a row, and its group is not patched */
    CHECK_OWN,       /* the program defines the name itself and comes first */
    CHECK_WAITS,     /* blocks, has no row */
    CHECK_MAY_WAIT,
    CHECK_OTHER, /* of no interest */
};

struct check_symbol {
    const char *name; /* in the ELF file of who asks */
    enum check_fate fate;
    const char *text; /* the group, or for what it waits */
    size_t asked_by;  /* the first who does, a place in the list of libraries */
};

struct check {
    const struct green_config *config;
    const struct libraries *libraries;
    struct check_symbol *symbols; /* in the order of their names */
    size_t count;
};

/* ---- Collecting --------------------------------------------------------------------------- */

static const char *check_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* libc and its loader call themselves without asking the symbol tables. */
static bool check_is_libc(const struct library *library)
{
    const char *base = check_base(library->name);
    return strncmp(base, "libc.so.", 8) == 0 || strncmp(base, "ld-linux", 8) == 0;
}

static bool check_group_on(const struct green_config *asked, const char *group)
{
    for (unsigned i = 0; i < GROUP_COUNT; i++)
        if (strcmp(patch_group_name[i], group) == 0)
            return (asked->patch >> i & 1) != 0;
    return false;
}

static void check_judge(const struct check *check, struct check_symbol *symbol)
{
    const struct patch_list_row *row = patches_find(symbol->name);
    symbol->fate = CHECK_OTHER;
    if (row != NULL) {
        symbol->text = row->group;
        symbol->fate = check_group_on(check->config, row->group) ? CHECK_PATCHED : CHECK_GROUP_OFF;
    }
    for (size_t i = 0; row == NULL && i < sizeof check_blocking / sizeof *check_blocking; i++)
        if (strcmp(check_blocking[i].name, symbol->name) == 0) {
            symbol->text = check_blocking[i].what;
            symbol->fate = check_blocking[i].how == CHECK_ALWAYS ? CHECK_WAITS : CHECK_MAY_WAIT;
        }
    if (symbol->fate != CHECK_OTHER && elf_defines(&check->libraries->list[0].elf, symbol->name))
        symbol->fate = CHECK_OWN;
}

static int check_compare(const void *a, const void *b)
{
    const struct check_symbol *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    if (order == 0)
        order = (left->asked_by > right->asked_by) - (left->asked_by < right->asked_by);
    return order;
}

/* Every function that the program or a library asks for, once, with what becomes of it. */
static void check_collect(struct check *check)
{
    size_t capacity = 0;
    for (size_t i = 0; i < check->libraries->count; i++)
        capacity += check->libraries->list[i].elf.symbol_count;
    check->symbols = say_alloc(capacity * sizeof *check->symbols);
    size_t all = 0;
    for (size_t i = 0; i < check->libraries->count; i++) {
        const struct library *library = &check->libraries->list[i];
        for (size_t n = 0; !check_is_libc(library) && n < library->elf.symbol_count; n++)
            if (library->elf.symbols[n].st_shndx == SHN_UNDEF)
                check->symbols[all++] = (struct check_symbol){
                    .name = elf_symbol_name(&library->elf, n),
                    .asked_by = i,
                };
    }
    qsort(check->symbols, all, sizeof *check->symbols, check_compare);
    for (size_t i = 0; i < all; i++) {
        if (i > 0 && strcmp(check->symbols[i].name, check->symbols[i - 1].name) == 0)
            continue;
        struct check_symbol symbol = check->symbols[i];
        check_judge(check, &symbol);
        if (symbol.fate != CHECK_OTHER)
            check->symbols[check->count++] = symbol;
    }
}

/* ---- Printing ----------------------------------------------------------------------------- */

/* Print the words behind `head`, in lines of a terminal's width. */
struct check_line {
    int column;
    int indent;
};

static void check_word(struct check_line *line, const char *word)
{
    if (line->column + 1 + (int)strlen(word) > 79)
        line->column = printf("\n%*s", line->indent, "") - 1;
    line->column += printf(" %s", word);
}

/* The symbols of one fate, a paragraph for each group. */
static void check_print_groups(const struct check *check, enum check_fate fate, const char *title)
{
    bool any = false;
    for (unsigned group = 0; group < GROUP_COUNT; group++) {
        struct check_line line = {.indent = 11};
        for (size_t i = 0; i < check->count; i++) {
            const struct check_symbol *symbol = &check->symbols[i];
            if (symbol->fate != fate || strcmp(symbol->text, patch_group_name[group]) != 0)
                continue;
            if (!any)
                printf("\n%s\n", title);
            any = true;
            if (line.column == 0)
                line.column = printf("  %-9s", patch_group_name[group]);
            check_word(&line, symbol->name);
        }
        if (line.column != 0)
            putchar('\n');
    }
}

/* The symbols of one fate, a line for each. */
static void check_print_lines(const struct check *check, enum check_fate fate, const char *title)
{
    bool any = false;
    for (size_t i = 0; i < check->count; i++) {
        const struct check_symbol *symbol = &check->symbols[i];
        if (symbol->fate != fate)
            continue;
        if (!any)
            printf("\n%s\n", title);
        any = true;
        printf("  %-24s waits %s (%s)\n", symbol->name, symbol->text,
               check_base(check->libraries->list[symbol->asked_by].name));
    }
}

static void check_print_names(const struct check *check, enum check_fate fate, const char *title)
{
    struct check_line line = {.indent = 1};
    for (size_t i = 0; i < check->count; i++) {
        if (check->symbols[i].fate != fate)
            continue;
        if (line.column == 0) {
            printf("\n%s\n", title);
            line.column = printf(" ");
        }
        check_word(&line, check->symbols[i].name);
    }
    if (line.column != 0)
        putchar('\n');
}

static void check_print_libraries(const struct check *check)
{
    const struct libraries *libraries = check->libraries;
    bool any = false;
    for (size_t i = 1; i < libraries->count; i++) {
        if (libraries->list[i].path != NULL)
            continue;
        if (!any)
            puts("\nNot found:");
        any = true;
        printf("  %s, which %s needs\n", libraries->list[i].name,
               check_base(libraries->list[libraries->list[i].asked_by].name));
    }
    any = false;
    for (size_t i = 0; i < libraries->count; i++) {
        const struct library *library = &libraries->list[i];
        size_t calls = library->path == NULL || check_is_libc(library)
                           ? 0
                           : elf_inline_syscalls(&library->elf);
        if (calls == 0)
            continue;
        if (!any)
            puts("\nMakes system calls of its own, past libc, which no patch sees:");
        any = true;
        printf("  %s, at %zu place%s or more\n", library->path, calls, calls == 1 ? "" : "s");
    }
}

static bool check_asks_for(const struct libraries *libraries, const char *name)
{
    for (size_t i = 0; i < libraries->count; i++)
        for (size_t n = 0;
             !check_is_libc(&libraries->list[i]) && n < libraries->list[i].elf.symbol_count; n++)
            if (libraries->list[i].elf.symbols[n].st_shndx == SHN_UNDEF &&
                strcmp(elf_symbol_name(&libraries->list[i].elf, n), name) == 0)
                return true;
    return false;
}

void check_print(const struct target *target, const struct green_config *asked)
{
    struct libraries libraries;
    libraries_collect(&libraries, target->program);
    struct check check = {.config = asked, .libraries = &libraries};
    check_collect(&check);

    size_t found = 0;
    for (size_t i = 1; i < libraries.count; i++)
        found += libraries.list[i].path != NULL;
    if (strcmp(target->command, target->program) != 0)
        printf("%s starts %s.\n", target->command, target->program);
    printf("%s: libgreen can be loaded into it; %zu librar%s looked at\n", target->program, found,
           found == 1 ? "y" : "ies");
    check_print_groups(&check, CHECK_PATCHED, "Patched:");
    check_print_groups(&check, CHECK_GROUP_OFF, "Left to libc, as the options say:");
    check_print_names(
        &check, CHECK_OWN,
        "Defined by the program itself; patched if it hands on to the next definition:");
    check_print_lines(&check, CHECK_WAITS, "Blocks, and is not patched:");
    check_print_lines(&check, CHECK_MAY_WAIT, "May block, and is not patched:");
    check_print_libraries(&check);
    if (check_asks_for(&libraries, "dlopen"))
        puts("\nIt can load more libraries when it runs (dlopen). These were not looked at.");
    free(check.symbols);
    libraries_free(&libraries);
}
