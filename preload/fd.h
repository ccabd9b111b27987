/* What becomes of descriptor numbers: the books that hub/fdtable.c keeps, as the program's calls
 * change them. They are kept from the first moment on, before there are green threads.
 */
#ifndef PRELOAD_FD_H
#define PRELOAD_FD_H

#include <sys/socket.h>

#include "hub/hub.h"

#pragma GCC visibility push(hidden)

/* FD_NONBLOCK if the flags of socket(2), accept4(2) or eventfd(2) and kin set O_NONBLOCK. */
int fd_nonblock(int flags);

/* The program has a new number for a description of its own. Passes -1, and errno, on. */
int fd_made(int fd, enum fd_kind kind, int flags);

/* A new number for the description that `old` has too: what is known of it goes with it, but it is
 * no longer that of one number alone. Passes -1 on. */
int fd_copied(int old, int fd);

/* Descriptors that came with a message (SCM_RIGHTS): others may have them too. */
void fd_received(struct msghdr *msg);

/* Descriptors that have gone with a message: others have them. */
void fd_sent(const struct msghdr *msg);

#pragma GCC visibility pop

#endif
