#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patches.h"
#include "say.h"

static const char options_hint[] = "`eventlet-run --help` lists the options";

struct options_own {
    const char *name;
    const char *argument;
    const char *help;
};

static const struct options_own options_own[] = {
#define ACTION(id, name_, argument_, help_) \
    [OPTIONS_##id] = {.name = name_, .argument = argument_, .help = help_},
#include "actions.def"
#undef ACTION
};

/* ---- Reading ------------------------------------------------------------------------------ */

/* How many letters must be changed, added or left out to make `b` of `a`; both are short. */
static size_t options_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1];
    const size_t length = strlen(b);
    if (length > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != 0; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[length];
}

_Noreturn static void options_unknown(const char *word, const char *name)
{
    const char *nearest = NULL;
    size_t distance = 4;
    for (size_t i = 0; i < config_option_count + OPTIONS_ACTIONS; i++) {
        const char *candidate = i < config_option_count ? config_options[i].name
                                                        : options_own[i - config_option_count].name;
        size_t n = candidate != NULL ? options_distance(name, candidate) : distance;
        if (n < distance && n < strlen(candidate)) {
            distance = n;
            nearest = candidate;
        }
    }
    char *hint = nearest != NULL ? say_format("did you mean --%s? %s", nearest, options_hint)
                                 : say_format("%s", options_hint);
    say_no(SAY_USAGE, hint, "%s: no such option", word);
}

/* Lists grow when an option is given twice. */
static void options_export(const struct config_option *option, const char *value, bool *given)
{
    const bool list = option->type == CONFIG_GROUP_LIST || option->type == CONFIG_SYMBOL_LIST;
    const char *before = list && *given ? getenv(option->variable) : NULL;
    char *all = before != NULL ? say_format("%s,%s", before, value) : say_format("%s", value);
    if (setenv(option->variable, all, 1) != 0)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    free(all);
    *given = true;
}

/* The functions that --bind names must be ones that libgreen sees. */
static void options_check_symbols(const char *subject, const char *list)
{
    while (*list != 0) {
        size_t length = strcspn(list, ",");
        char *name = say_format("%.*s", (int)length, list);
        if (patches_find(name) == NULL)
            say_no(SAY_USAGE, "`eventlet-run --list-patches` lists them",
                   "%s: libgreen patches no function %s", subject, name);
        free(name);
        list += length + (list[length] != 0);
    }
}

static void options_check(struct green_config *into, const struct config_option *option,
                          const char *subject, const char *value)
{
    struct config_text why = {0};
    if (!config_set(into, option, value, &why))
        say_no(SAY_USAGE, options_hint, "%s=%s: %s", subject, value, why.text);
    if (option->type == CONFIG_SYMBOL_LIST) {
        char *whole = say_format("%s=%s", subject, value);
        options_check_symbols(whole, value);
        free(whole);
    }
}

/* An option of the library: its value stands behind `=` or in the next word. */
static void options_library(struct options *options, const struct config_option *option,
                            const char *value, char ***at, bool *given)
{
    char *subject = say_format("--%s", option->name);
    if (value == NULL)
        value = option->bare;
    if (value == NULL)
        value = *++*at;
    if (value == NULL || *value == 0)
        say_no(SAY_USAGE, options_hint, "--%s: it needs a value: --%s=%s", option->name,
               option->name, option->argument);
    options_check(&options->config, option, subject, value);
    options_export(option, value, given);
    free(subject);
}

static void options_action(struct options *options, enum options_action action, const char *value,
                           char ***at)
{
    const struct options_own *own = &options_own[action];
    if (own->argument == NULL && value != NULL)
        say_no(SAY_USAGE, options_hint, "--%s: it takes no value", own->name);
    if (own->argument != NULL && value == NULL)
        value = *++*at;
    if (own->argument != NULL && (value == NULL || *value == 0))
        say_no(SAY_USAGE, options_hint, "--%s: it needs a value: --%s=%s", own->name, own->name,
               own->argument);
    if (action == OPTIONS_LIB)
        options->library = value;
    else if (options->action != OPTIONS_HELP)
        options->action = action;
}

/* One word that begins with a dash; *at moves on when the next word is its value. */
static void options_word(struct options *options, char ***at, bool *given)
{
    const char *word = **at;
    if (strcmp(word, "-h") == 0)
        word = "--help";
    if (strcmp(word, "-V") == 0)
        word = "--version";
    if (strncmp(word, "--", 2) != 0)
        options_unknown(word, word + 1);

    const size_t length = strcspn(word + 2, "=");
    char *name = say_format("%.*s", (int)length, word + 2);
    const char *value = word[2 + length] == '=' ? word + 3 + length : NULL;
    for (size_t i = 0; i < config_option_count; i++)
        if (strcmp(name, config_options[i].name) == 0) {
            options_library(options, &config_options[i], value, at, &given[i]);
            free(name);
            return;
        }
    for (int i = OPTIONS_RUN + 1; i < OPTIONS_ACTIONS; i++)
        if (strcmp(name, options_own[i].name) == 0) {
            options_action(options, (enum options_action)i, value, at);
            free(name);
            return;
        }
    options_unknown(**at, name);
}

void options_read(struct options *options, char **argv)
{
    *options = (struct options){.config = config};
    bool *given = say_alloc(config_option_count * sizeof *given);
    char **at = argv + (argv[0] != NULL);
    for (; *at != NULL && **at == '-' && (*at)[1] != 0; at++) {
        if (strcmp(*at, "--") == 0) {
            at++;
            break;
        }
        options_word(options, &at, given);
    }
    options->command = at;
    free(given);

    /* What was set by hand, and the lists that have grown. */
    for (size_t i = 0; options->action != OPTIONS_HELP && i < config_option_count; i++) {
        const char *value = getenv(config_options[i].variable);
        if (value != NULL && *value != 0)
            options_check(&options->config, &config_options[i], config_options[i].variable, value);
    }
    config_settle(&options->config);
}

/* ---- Printing ----------------------------------------------------------------------------- */

/* The column in which the help starts, and the one in which it ends. */
enum { OPTIONS_INDENT = 26, OPTIONS_WIDTH = 79 };

/* `text` in lines between the two columns, the first one behind `used` columns of `head`. */
static void options_wrap(const char *head, const char *text)
{
    int column = printf("  %s", head);
    if (column >= OPTIONS_INDENT) {
        putchar('\n');
        column = 0;
    }
    column += printf("%*s", OPTIONS_INDENT - column, "");
    while (*text != 0) {
        int length = (int)strcspn(text, " ");
        if (column > OPTIONS_INDENT) {
            if (column + 1 + length > OPTIONS_WIDTH)
                column = printf("\n%*s", OPTIONS_INDENT, "") - 1;
            else
                column += printf(" ");
        }
        column += printf("%.*s", length, text);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

/* "--stats[=json]", "--dns=WAY", "--strict" */
static char *options_head(const char *name, const char *argument, bool optional)
{
    if (argument == NULL)
        return say_format("--%s", name);
    return say_format(optional ? "--%s[=%s]" : "--%s=%s", name, argument);
}

/* The default as a user would write it; the types that have none of their own give "". */
static char *options_default(const struct config_option *option)
{
    const void *field = (const char *)&config + option->offset;
    switch (option->type) {
    case CONFIG_AUTO:
    case CONFIG_NUMBER:
        return say_format("%u", *(const uint32_t *)field);
    case CONFIG_MS:
        return say_format("%lld", (long long)(*(const int64_t *)field / 1000000));
    case CONFIG_CHOICE: {
        const char *words = option->words;
        for (int n = *(const int *)field; n > 0; n--)
            words += strcspn(words, "|") + 1;
        return say_format("%.*s", (int)strcspn(words, "|"), words);
    }
    default:
        return say_format("%s", "");
    }
}

void options_help(void)
{
    puts("Usage: eventlet-run [options] [--] command [arguments]\n"
         "\n"
         "Run a program, as it is, on green threads: libgreen.so is loaded into it and every\n"
         "thread that it makes is a coroutine, every call that would block lets another run.\n"
         "\n"
         "What the program is given:");
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        char *head = options_head(option->name, option->argument, option->bare != NULL);
        char *initial = options_default(option);
        char *text = option->bare == NULL && *initial != 0
                         ? say_format("%s (default: %s)", option->help, initial)
                         : say_format("%s", option->help);
        options_wrap(head, text);
        free(text);
        free(initial);
        free(head);
    }
    puts("\neventlet-run itself:");
    for (int i = OPTIONS_RUN + 1; i < OPTIONS_ACTIONS; i++) {
        char *head = options_head(options_own[i].name, options_own[i].argument, false);
        options_wrap(head, options_own[i].help);
        free(head);
    }
    fputs("\nPatch groups:", stdout);
    for (unsigned group = 0; group < GROUP_COUNT; group++)
        if (!config_group_fixed(group))
            printf(" %s", patch_group_name[group]);
    puts("\nExit status: the program's; 2 for a wrong command line, 127 when the command is not\n"
         "found, 126 when it cannot be executed, 125 when libgreen cannot be loaded into it.");
}

void options_list(void)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        char *initial = options_default(option);
        printf("%s\t%s%s\t%s\t%s\t%s\t%s\n", option->name, option->bare != NULL ? "?" : "=",
               option->argument != NULL ? option->argument : "",
               option->words != NULL ? option->words : "", initial, option->variable, option->help);
        free(initial);
    }
    for (int i = OPTIONS_RUN + 1; i < OPTIONS_ACTIONS; i++)
        printf("%s\t%s%s\t\t\t\t%s\n", options_own[i].name,
               options_own[i].argument != NULL ? "=" : "?",
               options_own[i].argument != NULL ? options_own[i].argument : "", options_own[i].help);
}
