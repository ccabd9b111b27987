/* See signalfd.c. */
#ifndef PRELOAD_SIGNALFD_H
#define PRELOAD_SIGNALFD_H

#include <stddef.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* read(2) of a descriptor of kind FD_SIGNAL by the calling green thread. May switch. */
ssize_t signalfd_read(int fd, void *buf, size_t len);

#pragma GCC visibility pop

#endif
