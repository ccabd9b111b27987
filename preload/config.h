/* What the environment asks of libgreen: read once, at start, constant afterwards. */
#ifndef PRELOAD_CONFIG_H
#define PRELOAD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen/patch_id.h"

/* The places of the words in options.def. */
enum { GREEN_FILE_DIRECT, GREEN_FILE_OFFLOAD };
enum { GREEN_DNS_CARES, GREEN_DNS_OFFLOAD, GREEN_DNS_NATIVE };
enum { GREEN_CHILDREN_INHERIT, GREEN_CHILDREN_OFF };
enum { GREEN_DEADLOCK_IGNORE, GREEN_DEADLOCK_REPORT, GREEN_DEADLOCK_ABORT };
enum { GREEN_STATS_OFF, GREEN_STATS_TEXT, GREEN_STATS_JSON };

enum {
    CONFIG_LIST_MAX = 1024, /* bytes of a list of symbols, with its end */
    CONFIG_PATH_MAX = 512,  /* of a path */
};

/* One field for each row of options.def. Written before any other code of the process runs, then
 * immutable. Holds the defaults until config_read() was called. */
struct green_config {
    uint32_t patch;             /* bit (1 << GROUP_os) ...: the groups that are patched */
    uint32_t no_patch;          /* groups taken out of `patch` by config_settle() */
    uint64_t stack_size;        /* bytes for every green thread; 0: as the program asks */
    uint32_t carriers;          /* 0: one for each processor that the process may use */
    bool strict;                /* one carrier, no handoff */
    int64_t handoff;            /* ns of computing before a handoff; 0: never */
    uint32_t max_carriers;      /* operating-system threads */
    uint32_t offload_threads;   /* operating-system threads */
    int file_io;                /* GREEN_FILE_... */
    int dns;                    /* GREEN_DNS_... */
    int children;               /* GREEN_CHILDREN_... */
    int dump_signal;            /* 0: none */
    char dump_file[CONFIG_PATH_MAX]; /* "": stderr */
    char control[CONFIG_PATH_MAX]; /* "": none; "1": where greenctl looks for it */
    char trace[CONFIG_PATH_MAX];   /* "": none; "-": lines on stderr */
    uint64_t trace_size;        /* bytes of records in a file of the trace */
    int64_t detect_blocking;    /* ns on a carrier without a switch; 0: not looked for */
    int on_deadlock;            /* GREEN_DEADLOCK_... */
    bool warn_multiple_readers;
    int stats;                  /* GREEN_STATS_... */
    char bind[CONFIG_LIST_MAX]; /* names separated by commas; "": none */
};

#pragma GCC visibility push(hidden)

extern struct green_config config;

/* Is the group patched? Any thread, async-signal-safe. */
static inline bool config_patches(enum patch_group_id group)
{
    return (config.patch >> group & 1) != 0;
}

/* Set `config` from the GREEN_ variables of envp, or leave the defaults where `secure` says that
 * the process runs with privileges that its caller lacks (AT_SECURE). A variable that is empty
 * counts as unset; of two with the same name the first counts, as for getenv(). A bad value ends
 * the process: two lines on stderr, exit status 125. Called once, before libc is initialised: uses
 * system calls and nothing of libc. */
void config_read(char *const *envp, bool secure);

/* ---- For eventlet-run and for config_read() ---------------------------------------------------
 */

enum config_type {
    CONFIG_FLAG,
    CONFIG_NUMBER,
    CONFIG_AUTO,
    CONFIG_MS,
    CONFIG_SIZE,
    CONFIG_CHOICE,
    CONFIG_GROUP_LIST,
    CONFIG_SIGNAL,
    CONFIG_SYMBOL_LIST,
    CONFIG_PATH,
};

/* A row of options.def. */
struct config_option {
    const char *name;
    const char *variable;
    enum config_type type;
    size_t offset; /* of the field in struct green_config */
    uint64_t low, high;
    const char *words;
    const char *bare;
    const char *argument;
    const char *help;
};

extern const struct config_option config_options[];
extern const size_t config_option_count;

/* A sentence in the making; cut where it would not fit. */
struct config_text {
    size_t used;
    char text[512];
};
void config_append(struct config_text *to, const char *text);

/* Set the field of `option` in `into` from `value`. False when the value is bad: `why` then says
 * what is expected ("is not a number from 1 to 256"), and the field is as it was. Uses nothing of
 * libc. */
bool config_set(struct green_config *into, const struct config_option *option, const char *value,
                struct config_text *why);

/* Is the group (loader) one that cannot be named and is always patched? Without its bookkeeping
 * nothing else holds. */
bool config_group_fixed(unsigned group);

/* After the last config_set(): take the groups of `no_patch` out of `patch`. */
void config_settle(struct green_config *into);

#pragma GCC visibility pop
#endif
