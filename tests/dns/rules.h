/* What the test server knows, read from a file; see server.c. One program includes this. */
#ifndef TESTS_DNS_RULES_H
#define TESTS_DNS_RULES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TYPE_ANY = 0, TYPE_A = 1, TYPE_CNAME = 5, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_OPT = 41 };
enum { NAME = 256, RULES = 4096 };

enum kind { RECORD, RCODE, SILENT, DELAY, MANGLE };

struct rule {
    char name[NAME];
    enum kind kind;
    int type;        /* of a record, or of the questions that it is for */
    char data[NAME]; /* address, name, mangling */
    int number;      /* code, milliseconds */
};

static struct rule rules[RULES];
static int rule_count;

static int type_of(const char *word)
{
    static const struct {
        const char *word;
        int type;
    } types[] = {{"A", TYPE_A}, {"AAAA", TYPE_AAAA}, {"CNAME", TYPE_CNAME}, {"PTR", TYPE_PTR}};
    for (size_t i = 0; word && i < sizeof types / sizeof *types; i++)
        if (!strcmp(word, types[i].word))
            return types[i].type;
    return TYPE_ANY;
}

static int code_of(const char *word)
{
    static const char *const codes[] = {"noerror",  "formerr", "servfail",
                                        "nxdomain", "notimp",  "refused"};
    for (int i = 0; i < 6; i++)
        if (!strcmp(word, codes[i]))
            return i;
    return 0;
}

static void rule_add(const char *name, enum kind kind, int type, const char *data, int number)
{
    if (rule_count == RULES) {
        fprintf(stderr, "server: too many rules\n");
        exit(1);
    }
    struct rule *r = &rules[rule_count++];
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->data, sizeof r->data, "%s", data);
    r->kind = kind;
    r->type = type;
    r->number = number;
}

static void rules_read(const char *path)
{
    char line[4096], *rest;
    FILE *file = fopen(path, "r");
    rule_count = 0;
    while (file && fgets(line, sizeof line, file)) {
        char *name = strtok_r(line, " \t\n", &rest), *word = strtok_r(NULL, " \t\n", &rest), *data;
        if (!name || !word || *name == '#')
            continue;
        if (!strcmp(word, "rcode")) {
            data = strtok_r(NULL, " \t\n", &rest);
            rule_add(name, RCODE, type_of(strtok_r(NULL, " \t\n", &rest)), "", code_of(data));
        } else if (!strcmp(word, "silent")) {
            rule_add(name, SILENT, type_of(strtok_r(NULL, " \t\n", &rest)), "", 0);
        } else if (!strcmp(word, "delay")) {
            rule_add(name, DELAY, 0, "", atoi(strtok_r(NULL, " \t\n", &rest)));
        } else if (!strcmp(word, "mangle")) {
            rule_add(name, MANGLE, 0, strtok_r(NULL, " \t\n", &rest), 0);
        } else {
            while ((data = strtok_r(NULL, " \t\n", &rest)))
                rule_add(name, RECORD, type_of(word), data, 0);
        }
    }
    if (file)
        fclose(file);
}

static bool name_matches(const char *pattern, const char *name)
{
    size_t length = strlen(name), tail = strlen(pattern) - 1;
    if (strncmp(pattern, "*.", 2))
        return !strcasecmp(pattern, name);
    return length > tail && !strcasecmp(name + length - tail, pattern + 1);
}

/* The next rule of the kind from *at on; exact names hide wildcards. */
static const struct rule *rule_next(const char *name, enum kind kind, int type, int *at)
{
    bool exact = false;
    for (int i = 0; i < rule_count; i++)
        exact |= !strcasecmp(rules[i].name, name);
    for (; *at < rule_count; ++*at) {
        const struct rule *r = &rules[*at];
        if (r->kind == kind && (exact ? !strcasecmp(r->name, name) : name_matches(r->name, name)) &&
            (r->type == TYPE_ANY || r->type == type))
            return &rules[(*at)++];
    }
    return NULL;
}

static const struct rule *rule_first(const char *name, enum kind kind, int type)
{
    int at = 0;
    return rule_next(name, kind, type, &at);
}

/* Does the name exist, with whatever records? */
static bool name_exists(const char *name)
{
    for (int i = 0; i < rule_count; i++)
        if (name_matches(rules[i].name, name))
            return true;
    return false;
}

#endif
