/* /etc/hosts as a set: is a name or an address in it? What is, libc answers without asking anybody,
 * so that is all that must be known. */
#ifndef PRELOAD_HOSTS_H
#define PRELOAD_HOSTS_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

struct hosts;

/* The file's content; NULL without a file, or without memory (then *lost). */
struct hosts *hosts_read(const char *path, bool *lost);
void hosts_free(struct hosts *hosts);

enum hosts_answer {
    HOSTS_NO,    /* no line has it */
    HOSTS_YES,   /* libc finds it there for this family */
    HOSTS_OTHER, /* it is there, but for the other family alone */
};

/* family: AF_UNSPEC, AF_INET or AF_INET6. hosts may be NULL. Never switches. */
enum hosts_answer hosts_name(const struct hosts *hosts, const char *name, int family);

/* address: 4 or 16 bytes, as the family says. */
bool hosts_address(const struct hosts *hosts, const void *address, int family);

#pragma GCC visibility pop

#endif
