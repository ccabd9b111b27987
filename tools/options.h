/* The command line of eventlet-run. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stddef.h>

#include "preload/config.h"

enum options_action {
    OPTIONS_RUN, /* none named: start the command */
#define ACTION(id, name, argument, help) OPTIONS_##id,
#include "actions.def"
#undef ACTION
    OPTIONS_ACTIONS
};

struct options {
    enum options_action action;
    const char *library; /* --lib, or NULL */
    char **command;      /* the command and its arguments; the end of argv where there is none */
    struct green_config config; /* what the library will make of its environment */
};

/* Read the command line, and put what it asks of the library into the environment, where the
 * library will find it. Ends in say_no(SAY_USAGE, ...) where it cannot be understood, or where a
 * GREEN_ variable set by hand cannot. */
void options_read(struct options *options, char **argv);

/* Print all options: for people, and for scripts. */
void options_help(void);
void options_list(void);

#endif
