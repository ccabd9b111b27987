#include "script.h"

#include <stdlib.h>
#include <string.h>

#include "say.h"

static bool script_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *script_copy(const char *from, const char *to)
{
    return say_format("%.*s", (int)(to - from), from);
}

bool script_interpreter(const unsigned char *bytes, size_t size, char **interpreter,
                        char **argument)
{
    if (size < 2 || bytes[0] != '#' || bytes[1] != '!')
        return false;
    const char *at = (const char *)bytes + 2;
    const char *limit = (const char *)bytes + (size < SCRIPT_LINE_MAX ? size : SCRIPT_LINE_MAX);
    const char *end = memchr(at, '\n', (size_t)(limit - at));
    if (end == NULL)
        end = limit;
    const char *zero = memchr(at, 0, (size_t)(end - at));
    if (zero != NULL)
        end = zero;
    while (end > at && script_blank(end[-1]))
        end--;
    while (at < end && script_blank(*at))
        at++;
    const char *name_end = at;
    while (name_end < end && !script_blank(*name_end))
        name_end++;
    if (name_end == at)
        return false;
    *interpreter = script_copy(at, name_end);
    while (name_end < end && script_blank(*name_end))
        name_end++;
    *argument = name_end < end ? script_copy(name_end, end) : NULL;
    return true;
}

bool script_is_text(const unsigned char *bytes, size_t size)
{
    if (size > SCRIPT_LINE_MAX)
        size = SCRIPT_LINE_MAX;
    for (size_t i = 0; i < size && bytes[i] != '\n'; i++)
        if (bytes[i] == 0)
            return false;
    return true;
}

/* Words collected for a command line. */
struct script_words {
    char **list; /* ends in NULL */
    size_t count;
};

static void script_add(struct script_words *words, char *word)
{
    char **list = reallocarray(words->list, words->count + 2, sizeof *list);
    if (list == NULL)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    words->list = list;
    list[words->count++] = word;
    list[words->count] = NULL;
}

/* What stands behind a backslash in `env -S`; 0 for what ends the word or the text. */
static char script_escape(char c)
{
    switch (c) {
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case '_':
        return ' ';
    default:
        return c;
    }
}

/* Split the text of `env -S` into words: quotes, escapes and ${NAME} as env(1) has them. False when
 * a quote or a brace is left open, or nothing can come of it. */
static bool script_split(const char *text, struct script_words *words)
{
    size_t capacity = strlen(text) + 1;
    char *word = say_alloc(capacity);
    size_t length = 0;
    bool in_word = false;
    char quote = 0;
    for (; *text != 0; text++) {
        const char *piece = text;
        size_t piece_length = 1;
        char one;
        if (quote == 0 && (script_blank(*text) || *text == '\n')) {
            if (in_word)
                script_add(words, script_copy(word, word + length));
            in_word = false;
            length = 0;
            continue;
        }
        if (quote == 0 && *text == '#' && !in_word)
            break;
        in_word = true;
        if (*text == quote || (quote == 0 && (*text == '"' || *text == '\''))) {
            quote = quote != 0 ? 0 : *text;
            continue;
        }
        if (*text == '\\' && quote != '\'') {
            text++;
            if (*text == 0)
                return false;
            if (*text == 'c' && quote == 0) {
                in_word = length > 0;
                break;
            }
            if (*text == '_' && quote == 0) {
                if (length > 0)
                    script_add(words, script_copy(word, word + length));
                in_word = false;
                length = 0;
                continue;
            }
            one = script_escape(*text);
            piece = &one;
        } else if (*text == '$' && quote != '\'') {
            const char *close = strchr(text, '}');
            if (text[1] != '{' || close == NULL)
                return false;
            char *name = script_copy(text + 2, close);
            const char *value = getenv(name);
            free(name);
            piece = value != NULL ? value : "";
            piece_length = strlen(piece);
            text = close;
        }
        if (length + piece_length + strlen(text) + 1 > capacity) {
            capacity = length + piece_length + strlen(text) + 1;
            char *longer = say_alloc(capacity);
            memcpy(longer, word, length);
            free(word);
            word = longer;
        }
        memcpy(word + length, piece, piece_length);
        length += piece_length;
    }
    if (in_word)
        script_add(words, script_copy(word, word + length));
    free(word);
    return quote == 0;
}

/* An option of env(1) that takes a value: in the rest of its own word, or in the next one. */
static const char *script_env_value(const char *rest, char ***at)
{
    if (*rest != 0)
        return rest;
    if ((*at)[1] == NULL)
        return NULL;
    return *++*at;
}

/* `env -S TEXT REST...`: what env sees is the words of TEXT, then REST. */
static bool script_env_again(const char *text, char **rest, struct script_env *result, int depth);

/* One word that begins with a dash. Sets *done when the command was found by another way. */
static bool script_env_option(char ***at, struct script_env *result, bool *done, int depth)
{
    const char *word = **at;
    if (strncmp(word, "--", 2) == 0) {
        static const char split[] = "--split-string=";
        if (strncmp(word, split, sizeof split - 1) == 0) {
            *done = true;
            return script_env_again(word + sizeof split - 1, *at + 1, result, depth);
        }
        if (strcmp(word, "--split-string") == 0) {
            *done = true;
            return (*at)[1] != NULL && script_env_again((*at)[1], *at + 2, result, depth);
        }
        if (strcmp(word, "--chdir") == 0 || strcmp(word, "--unset") == 0) {
            result->moves |= word[2] == 'c';
            return *++*at != NULL;
        }
        result->moves |= strncmp(word, "--chdir=", 8) == 0;
        return strcmp(word, "--help") != 0 && strcmp(word, "--version") != 0;
    }
    for (const char *letter = word + 1; *letter != 0; letter++) {
        switch (*letter) {
        case 'i':
        case '0':
        case 'v':
            break;
        case 'C':
            result->moves = true;
            return script_env_value(letter + 1, at) != NULL;
        case 'u':
            return script_env_value(letter + 1, at) != NULL;
        case 'S': {
            const char *text = script_env_value(letter + 1, at);
            *done = true;
            return text != NULL && script_env_again(text, *at + 1, result, depth);
        }
        default:
            return false;
        }
    }
    return true;
}

/* `at` points to the words behind env's own name. */
static bool script_env_words(char **at, struct script_env *result, int depth)
{
    for (; *at != NULL; at++) {
        const char *word = *at;
        if (strcmp(word, "--") == 0) {
            at++;
            break;
        }
        if (word[0] != '-')
            break;
        bool done = false;
        if (!script_env_option(&at, result, &done, depth))
            return false;
        if (done)
            return true;
    }
    for (; *at != NULL && strchr(*at, '=') != NULL; at++)
        if (strncmp(*at, "PATH=", 5) == 0)
            result->path = *at + 5;
    result->command = at;
    return *at != NULL;
}

static bool script_env_again(const char *text, char **rest, struct script_env *result, int depth)
{
    struct script_words words = {0};
    if (depth >= 4 || !script_split(text, &words))
        return false;
    for (; *rest != NULL; rest++)
        script_add(&words, *rest);
    return words.list != NULL && script_env_words(words.list, result, depth + 1);
}

bool script_env(char **argv, const char *path, struct script_env *result)
{
    *result = (struct script_env){.path = path};
    return argv[0] != NULL && script_env_words(argv + 1, result, 0);
}
