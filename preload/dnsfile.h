/* Small configuration files, as lines and words. */
#ifndef PRELOAD_DNSFILE_H
#define PRELOAD_DNSFILE_H

#include <stdint.h>

#pragma GCC visibility push(hidden)

/* What changes when a file does, or when it appears or goes; all zero: there is none. */
struct dns_file_state {
    uint64_t device, inode, size;
    int64_t modified, modified_ns, changed, changed_ns;
};

/* The state of the file at path now. Never switches; keeps errno. */
struct dns_file_state dns_file_state(const char *path);

/* The text of the file in memory of green_alloc(), NULL when it cannot be read. Keeps errno. */
char *dns_file_read(const char *path);

/* The next line at *text, ended in place, with what follows a '#' cut off; NULL after the last. */
char *dns_file_line(char **text);

/* The next word at *line, ended in place; NULL after the last. */
char *dns_file_word(char **line);

#pragma GCC visibility pop

#endif
