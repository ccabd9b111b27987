#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void say_line(const char *prefix, const char *text)
{
    fputs(prefix, stderr);
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\n')
            fputs("\\n", stderr);
        else if (c < ' ' || c == 127)
            fprintf(stderr, "\\%03o", c);
        else
            putc(c, stderr);
    }
    putc('\n', stderr);
}

void say_no(int code, const char *hint, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    fflush(stdout);
    say_line("eventlet-run: ", text != NULL ? text : "out of memory");
    say_line("hint: ", hint);
    exit(code);
}

void *say_alloc(size_t size)
{
    void *memory = calloc(1, size != 0 ? size : 1);
    if (memory == NULL)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    return memory;
}

char *say_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        say_no(SAY_FAILED, "free some memory, or raise `ulimit -v`", "out of memory");
    return text;
}
