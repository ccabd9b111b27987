/* eventlet-run: start a program on green threads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "check.h"
#include "doctor.h"
#include "environment.h"
#include "options.h"
#include "patches.h"
#include "say.h"
#include "target.h"

#ifndef GREEN_VERSION
#define GREEN_VERSION "unknown"
#endif

/* What was printed must have arrived. */
static int finish(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        say_no(SAY_FAILED, "look at where the output goes: is the disk full?", "cannot write: %s",
               strerror(errno));
    return 0;
}

static void need_command(const struct options *options)
{
    if (options->command[0] == NULL)
        say_no(SAY_USAGE, "eventlet-run [options] [--] command [arguments]; --help tells more",
               "no command was given");
}

/* Start the command. Returns only by ending in say_no(). */
_Noreturn static void run(const struct options *options)
{
    struct target target;
    need_command(options);
    if (getauxval(AT_SECURE))
        say_no(SAY_FAILED, "start it as a user, not from a program that is setuid or setgid",
               "runs with privileges that its caller lacks, so nothing can be loaded");
    char *library = environment_library(options->library);
    target_find(&target, options->command);
    environment_preload(library, target.program, target.runtimes);
    execve(target.path, target.argv, environ);
    switch (errno) {
    case ENOENT:
        say_no(SAY_NOT_FOUND, "look whether it was removed just now", "%s: not found", target.path);
    case E2BIG:
        say_no(SAY_NOT_EXECUTABLE, "give it fewer arguments or a smaller environment", "%s: %s",
               target.path, strerror(errno));
    default:
        say_no(SAY_NOT_EXECUTABLE, "start it without eventlet-run to see whether it works so",
               "%s: %s", target.path, strerror(errno));
    }
}

static void check(const struct options *options)
{
    struct target target;
    need_command(options);
    target_find(&target, options->command);
    check_print(&target, &options->config);
}

static void doctor(const struct options *options)
{
    doctor_print();
    char *library = environment_library(options->library);
    printf("%-20s %-9s %s\n", "libgreen.so", "yes", library);
    free(library);
}

int main(int argc, char **argv)
{
    struct options options;
    (void)argc;
    options_read(&options, argv);
    switch (options.action) {
    case OPTIONS_HELP:
        options_help();
        break;
    case OPTIONS_VERSION:
        printf("eventlet-run %s\n", GREEN_VERSION);
        break;
    case OPTIONS_LIST_PATCHES:
        patches_list();
        break;
    case OPTIONS_LIST_OPTIONS:
        options_list();
        break;
    case OPTIONS_DOCTOR:
        doctor(&options);
        break;
    case OPTIONS_CHECK:
        check(&options);
        break;
    default:
        run(&options);
    }
    return finish();
}
