/* What --stats prints at exit. */
#ifndef PRELOAD_STATS_H
#define PRELOAD_STATS_H

#pragma GCC visibility push(hidden)

/* In the constructor, under --stats: keeps a descriptor of today's stderr, and prints at exit. */
void stats_start(void);

/* Print, if nobody has in this process. Before an end that runs no exit handlers. Any thread. */
void stats_print(void);

/* In a forked child: the figures count from here, and are printed if it makes green threads. */
void stats_after_fork(void);

#pragma GCC visibility pop

#endif
