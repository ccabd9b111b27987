/* The parts of greenctl. */
#ifndef TOOLS_GREENCTL_H
#define TOOLS_GREENCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Prints "greenctl: WHAT" and "hint: HINT" and exits with `code`: 2 for a wrong command line, 1 for
 * all else. */
_Noreturn void greenctl_no(int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Send `line` to the socket at `path` and read the answer to its end. NULL when nobody answers, or
 * the socket is not this user's or root's. The caller frees it. */
char *greenctl_ask(const char *path, const char *line, size_t *length);

/* A view that refreshes until q. */
int greenctl_top(const char *path);

/* Write the JSON of a trace that its program has not finished to `to`; false when there is no such trace. */
bool greenctl_unfinished(const char *file, FILE *to);

/* The same, to stdout. */
int greenctl_convert(const char *file);

/* Write the trace at `file` as a page of HTML to stdout. */
int greenctl_report(const char *file);

#endif
