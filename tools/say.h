/* How eventlet-run says no: two lines on stderr, what and why, then a hint. */
#ifndef TOOLS_SAY_H
#define TOOLS_SAY_H

#include <stddef.h>

/* Exit codes, the shell's where it has one. */
enum {
    SAY_USAGE = 2,            /* the command line is wrong */
    SAY_FAILED = 125,         /* eventlet-run itself cannot do it */
    SAY_NOT_EXECUTABLE = 126, /* the command was found but cannot be executed */
    SAY_NOT_FOUND = 127,
};

/* Prints "eventlet-run: WHAT" and "hint: HINT" and exits with `code`. `format` describes what and
 * why; a control character in the result comes out as an escape, so that there are two lines
 * whatever a file is called. */
_Noreturn void say_no(int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Allocation that ends in say_no() where there is no memory. */
void *say_alloc(size_t size);
char *say_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
