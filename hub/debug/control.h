/* --control: a UNIX socket over which greenctl(1) asks. One line in, text out, end.
 *
 * The first line of an answer is "ok" or "error: " and why. Served by a native thread; opened only
 * where it was asked for, in a directory that only the user can enter.
 */
#ifndef DEBUG_CONTROL_H
#define DEBUG_CONTROL_H

/* Open the socket and serve it, unless that is so. What goes wrong is said on stderr, and the
 * program goes on. */
void control_run(void);

/* Take the socket's name away. */
void control_exit(void);

void control_fork(void);

#endif
