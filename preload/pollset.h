/* Epoll sets of our own, for waits on more descriptors than the hub takes at once. A set is kept
 * between calls, and only what differs is told to the kernel.
 */
#ifndef PRELOAD_POLLSET_H
#define PRELOAD_POLLSET_H

#include <poll.h>

#pragma GCC visibility push(hidden)

struct pollset;

/* A set that watches exactly these descriptors with exactly these masks, preferably the one that
 * the calling green thread had last; its own until it is given back. NULL when the kernel refuses
 * (too many descriptors or watches, epoll sets nested too deep). */
struct pollset *pollset_take(const struct pollfd *fds, nfds_t count);
void pollset_give_back(struct pollset *s);

/* Its epoll descriptor: readable when one of the descriptors is ready. */
int pollset_fd(const struct pollset *s);

#pragma GCC visibility pop

#endif
