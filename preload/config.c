/* The options of libgreen: the table, the values, and reading them from the environment.
 *
 * config_read() runs in the first constructor of the process, before libc has set `environ` and
 * while nothing of it may be relied on. So everything here does its own work, byte by byte.
 * eventlet-run is built with this file as well, and so accepts exactly what the library does. */
#include "config.h"

#include <signal.h>

#include "coro/decimal.h"
#include "coro/sys.h"

#define MS_IN_NS 1000000

/* clang-format off */
/* Each type's initial value, from the default column. */
#define INITIAL_FLAG(value) ((value) != 0)
#define INITIAL_NUMBER(value) (value)
#define INITIAL_AUTO(value) (value)
#define INITIAL_MS(value) ((int64_t)(value) * MS_IN_NS)
#define INITIAL_SIZE(value) (value)
#define INITIAL_CHOICE(value) (value)
#define INITIAL_GROUPS(value) (value)
#define INITIAL_SIGNAL(value) (value)
#define INITIAL_SYMBOLS(value) {0}
#define INITIAL_PATH(value) {0}
/* clang-format on */

/* Each type of a row, and the C type that its field must have. */
#define TYPE_FLAG(field) CONFIG_FLAG + 0 * sizeof(_Generic(field, bool : 1))
#define TYPE_NUMBER(field) CONFIG_NUMBER + 0 * sizeof(_Generic(field, uint32_t : 1))
#define TYPE_AUTO(field) CONFIG_AUTO + 0 * sizeof(_Generic(field, uint32_t : 1))
#define TYPE_MS(field) CONFIG_MS + 0 * sizeof(_Generic(field, int64_t : 1))
#define TYPE_SIZE(field) CONFIG_SIZE + 0 * sizeof(_Generic(field, uint64_t : 1))
#define TYPE_CHOICE(field) CONFIG_CHOICE + 0 * sizeof(_Generic(field, int : 1))
#define TYPE_GROUPS(field) CONFIG_GROUP_LIST + 0 * sizeof(_Generic(field, uint32_t : 1))
#define TYPE_SIGNAL(field) CONFIG_SIGNAL + 0 * sizeof(_Generic(field, int : 1))
#define TYPE_PATH(field) CONFIG_PATH + 0 * sizeof(_Generic(field, char * : 1))
#define TYPE_SYMBOLS(field) CONFIG_SYMBOL_LIST + 0 * sizeof(_Generic(field, char * : 1))

#define RANGE(lowest, highest) .low = (lowest), .high = (highest)
#define WORDS(text) .words = (text)
#define NO_LIMITS .words = NULL

#define ALL_GROUPS ((uint32_t)((1ULL << GROUP_COUNT) - 1))
_Static_assert(GROUP_COUNT <= 32, "one bit for each patch group");

struct green_config config = {
#define OPTION(field, name, variable, type, initial, limits, bare, argument, help) \
    .field = INITIAL_##type(initial),
#include "options.def"
#undef OPTION
};

const struct config_option config_options[] = {
#define OPTION(field, name_, variable_, type_, initial, limits, bare_, argument_, help_) \
    {                                                                                    \
        .name = name_,                                                                   \
        .variable = variable_,                                                           \
        .type = TYPE_##type_(((struct green_config *)0)->field),                         \
        .offset = offsetof(struct green_config, field),                                  \
        limits,                                                                          \
        .bare = bare_,                                                                   \
        .argument = argument_,                                                           \
        .help = help_,                                                                   \
    },
#include "options.def"
#undef OPTION
};
const size_t config_option_count = sizeof config_options / sizeof *config_options;

/* ---- Text --------------------------------------------------------------------------------- */

static size_t config_length(const char *text)
{
    size_t n = 0;
    while (text[n] != 0)
        n++;
    return n;
}

/* Are the first `length` bytes of `text` all of `word`? */
static bool config_same(const char *text, size_t length, const char *word)
{
    for (size_t i = 0; i < length; i++)
        if (word[i] == 0 || text[i] != word[i])
            return false;
    return word[length] == 0;
}

static void config_append_part(struct config_text *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length && to->used + 1 < sizeof to->text; i++)
        to->text[to->used++] = text[i];
    to->text[to->used] = 0;
}

void config_append(struct config_text *to, const char *text)
{
    config_append_part(to, text, config_length(text));
}

static void config_append_number(struct config_text *to, uint64_t value)
{
    char room[DECIMAL_ROOM];
    config_append(to, decimal(value, room));
}

/* As a user would write it: 16K, not 16384. */
static void config_append_size(struct config_text *to, uint64_t value)
{
    size_t unit = 0;
    while (unit < 3 && value != 0 && value % 1024 == 0) {
        value /= 1024;
        unit++;
    }
    config_append_number(to, value);
    config_append_part(to, &"\0KMG"[unit], unit != 0);
}

static void config_append_range(struct config_text *to, const struct config_option *option)
{
    void (*append)(struct config_text *, uint64_t) =
        option->type == CONFIG_SIZE ? config_append_size : config_append_number;
    config_append(to, " from ");
    append(to, option->low);
    config_append(to, " to ");
    append(to, option->high);
}

/* ---- Values ------------------------------------------------------------------------------- */

/* Decimal digits, and nothing else before `end`; false when there are none or too many. */
static bool config_digits(const char *text, const char *end, uint64_t *value)
{
    uint64_t n = 0;
    if (text == end)
        return false;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9' || n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *value = n;
    return true;
}

static bool config_number(const struct config_option *option, const char *text, uint64_t *value)
{
    const char *end = text + config_length(text);
    uint64_t unit = 1;
    if (option->type == CONFIG_SIZE && end > text) {
        static const char letters[] = "KMGkmg";
        for (unsigned i = 0; letters[i] != 0; i++)
            if (end[-1] == letters[i])
                unit = 1ULL << 10 * (i % 3 + 1);
        end -= unit != 1;
    }
    if (!config_digits(text, end, value) || *value > UINT64_MAX / unit)
        return false;
    *value *= unit;
    return *value >= option->low && *value <= option->high;
}

/* The place of `text` among words separated by bars; -1 when it is none of them. */
static int config_choice(const char *words, const char *text)
{
    size_t length = config_length(text);
    int place = 0;
    for (;;) {
        size_t n = 0;
        while (words[n] != 0 && words[n] != '|')
            n++;
        if (n == length && config_same(words, n, text))
            return place;
        if (words[n] == 0)
            return -1;
        words += n + 1;
        place++;
    }
}

/* The next part of a list separated by commas; false at its end. `*list` moves on. */
static bool config_part(const char **list, const char **part, size_t *length)
{
    const char *at = *list;
    if (at == NULL)
        return false;
    size_t n = 0;
    while (at[n] != 0 && at[n] != ',')
        n++;
    *part = at;
    *length = n;
    *list = at[n] == ',' ? at + n + 1 : NULL;
    return true;
}

bool config_group_fixed(unsigned group)
{
    const char *name = patch_group_name[group];
    return config_same(name, config_length(name), "loader");
}

static bool config_groups(const char *list, uint32_t *groups, struct config_text *why)
{
    const char *part;
    size_t length;
    uint32_t found = 0;
    while (config_part(&list, &part, &length)) {
        unsigned group = 0;
        while (group < GROUP_COUNT &&
               (config_group_fixed(group) || !config_same(part, length, patch_group_name[group])))
            group++;
        if (group == GROUP_COUNT) {
            config_append(why, "there is no patch group \"");
            config_append_part(why, part, length);
            config_append(why, "\"; the groups are");
            const char *separator = " ";
            for (group = 0; group < GROUP_COUNT; group++) {
                if (config_group_fixed(group))
                    continue;
                config_append(why, separator);
                config_append(why, patch_group_name[group]);
                separator = ", ";
            }
            return false;
        }
        found |= 1U << group;
    }
    *groups = found;
    return true;
}

static bool config_is_name(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_')
            return false;
    }
    return length != 0;
}

static bool config_symbols(const char *list, char *into, struct config_text *why)
{
    const char *rest = list;
    const char *part;
    size_t length;
    while (config_part(&rest, &part, &length))
        if (!config_is_name(part, length)) {
            config_append(why, "not a list of function names separated by commas");
            return false;
        }
    length = config_length(list);
    if (length >= CONFIG_LIST_MAX) {
        config_append(why, "the list is longer than ");
        config_append_number(why, CONFIG_LIST_MAX - 1);
        config_append(why, " bytes");
        return false;
    }
    for (size_t i = 0; i <= length; i++)
        into[i] = list[i];
    return true;
}

static bool config_path(const char *path, char *into, struct config_text *why)
{
    size_t length = config_length(path);
    if (length == 0 || length >= CONFIG_PATH_MAX) {
        config_append(why, "not a path of 1 to ");
        config_append_number(why, CONFIG_PATH_MAX - 1);
        config_append(why, " bytes");
        return false;
    }
    for (size_t i = 0; i <= length; i++)
        into[i] = path[i];
    return true;
}

/* Signals by their numbers on every Linux but MIPS, Alpha, SPARC and PA-RISC. */
static const struct {
    const char *name;
    int number;
} config_signals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT}, {"IOT", SIGABRT},    {"BUS", SIGBUS},
    {"FPE", SIGFPE},       {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},   {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},     {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"STKFLT", SIGSTKFLT},
    {"CHLD", SIGCHLD},     {"CONT", SIGCONT}, {"TSTP", SIGTSTP},   {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},   {"XFSZ", SIGXFSZ},
    {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO},
    {"POLL", SIGIO},       {"PWR", SIGPWR},   {"SYS", SIGSYS},
};

/* What programs may use of the real-time signals: libc keeps the first two for itself. */
enum { CONFIG_RTMIN = 34, CONFIG_RTMAX = 64 };

static bool config_signal(const char *text, int *number)
{
    size_t length = config_length(text);
    uint64_t n;
    if (config_digits(text, text + length, &n)) {
        if (n > CONFIG_RTMAX || n == SIGKILL || n == SIGSTOP || (n > 31 && n < CONFIG_RTMIN))
            return false;
        *number = (int)n;
        return true;
    }
    if (length > 3 && config_same(text, 3, "SIG")) {
        text += 3;
        length -= 3;
    }
    for (size_t i = 0; i < sizeof config_signals / sizeof *config_signals; i++)
        if (config_same(text, length, config_signals[i].name)) {
            *number = config_signals[i].number;
            return true;
        }
    bool from_min = length >= 5 && config_same(text, 5, "RTMIN");
    bool from_max = length >= 5 && config_same(text, 5, "RTMAX");
    if (!from_min && !from_max)
        return false;
    n = 0;
    if (length > 5 &&
        (text[5] != (from_min ? '+' : '-') || !config_digits(text + 6, text + length, &n) ||
         n > CONFIG_RTMAX - CONFIG_RTMIN))
        return false;
    *number = from_min ? CONFIG_RTMIN + (int)n : CONFIG_RTMAX - (int)n;
    return true;
}

static void config_explain(const struct config_option *option, struct config_text *why)
{
    switch (option->type) {
    case CONFIG_FLAG:
    case CONFIG_CHOICE:
        config_append(why, "not one of ");
        for (const char *words = option->words; *words != 0; words++)
            if (*words == '|')
                config_append(why, ", ");
            else
                config_append_part(why, words, 1);
        break;
    case CONFIG_AUTO:
        config_append(why, "neither auto nor a number");
        config_append_range(why, option);
        break;
    case CONFIG_MS:
        config_append(why, "not a number of milliseconds");
        config_append_range(why, option);
        break;
    case CONFIG_SIZE:
        config_append(why, "not a size");
        config_append_range(why, option);
        break;
    case CONFIG_SIGNAL:
        config_append(why, "not a signal that can be caught, such as USR1, RTMIN+3 or 10");
        break;
    default:
        config_append(why, "not a number");
        config_append_range(why, option);
        break;
    }
}

bool config_set(struct green_config *into, const struct config_option *option, const char *value,
                struct config_text *why)
{
    void *field = (char *)into + option->offset;
    uint64_t number = 0;
    int place = -1;

    switch (option->type) {
    case CONFIG_GROUP_LIST:
        return config_groups(value, field, why);
    case CONFIG_SYMBOL_LIST:
        return config_symbols(value, field, why);
    case CONFIG_PATH:
        return config_path(value, field, why);
    case CONFIG_FLAG:
        if ((place = config_choice(option->words, value)) < 0)
            break;
        *(bool *)field = place != 0;
        return true;
    case CONFIG_CHOICE:
        if ((place = config_choice(option->words, value)) < 0)
            break;
        *(int *)field = place;
        return true;
    case CONFIG_SIGNAL:
        if (!config_signal(value, field))
            break;
        return true;
    case CONFIG_AUTO:
        if (!config_same(value, config_length(value), "auto") &&
            !config_number(option, value, &number))
            break;
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case CONFIG_NUMBER:
        if (!config_number(option, value, &number))
            break;
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case CONFIG_MS:
        if (!config_number(option, value, &number))
            break;
        *(int64_t *)field = (int64_t)number * MS_IN_NS;
        return true;
    case CONFIG_SIZE:
        if (!config_number(option, value, &number))
            break;
        *(uint64_t *)field = number;
        return true;
    }
    config_explain(option, why);
    return false;
}

void config_settle(struct green_config *into)
{
    into->patch &= ~into->no_patch;
    for (unsigned group = 0; group < GROUP_COUNT; group++)
        if (config_group_fixed(group))
            into->patch |= 1U << group;
}

/* ---- The environment ---------------------------------------------------------------------- */

/* The value of a variable, or NULL when it is unset or empty. */
static const char *config_variable(char *const *envp, const char *name)
{
    size_t length = config_length(name);
    for (; *envp != NULL; envp++) {
        const char *entry = *envp;
        size_t n = 0;
        while (n < length && entry[n] == name[n])
            n++;
        if (n == length && entry[n] == '=')
            return entry[n + 1] != 0 ? entry + n + 1 : NULL;
    }
    return NULL;
}

/* Does not return. */
static void config_refuse(const struct config_option *option, const char *value,
                          const struct config_text *why)
{
    struct config_text line = {0};
    config_append(&line, "libgreen: ");
    config_append(&line, option->variable);
    config_append(&line, "=");
    size_t from = line.used;
    config_append_part(&line, value, config_length(value) < 80 ? config_length(value) : 80);
    for (size_t i = from; i < line.used; i++)
        if (line.text[i] < ' ' || line.text[i] == 127)
            line.text[i] = '?';
    config_append(&line, ": ");
    config_append(&line, why->text);
    if (line.used > sizeof line.text - 100)
        line.used = sizeof line.text - 100;
    config_append(&line, "\nhint: unset ");
    config_append(&line, option->variable);
    config_append(&line, ", or see eventlet-run(1) for what it may be\n");
    sys_3(SYS_write, 2, line.text, line.used);
    sys_1(SYS_exit_group, 125);
    __builtin_unreachable();
}

void config_read(char *const *envp, bool secure)
{
    for (size_t i = 0; !secure && i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        const char *value = config_variable(envp, option->variable);
        struct config_text why = {0};
        if (value != NULL && !config_set(&config, option, value, &why))
            config_refuse(option, value, &why);
    }
    config_settle(&config);
}
