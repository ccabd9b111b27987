/* What a process and its descendants weigh at this moment. */
#ifndef SMOKE_FOOTPRINT_H
#define SMOKE_FOOTPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct footprint {
    long processes, threads, fds;
    long user_kb;         /* proportional set size */
    long kernel_stack_kb; /* threads x 16 KiB */
    long page_table_kb;
};

/* All pids in the tree below and with `root`, at most `room`; returns how many. */
size_t footprint_tree(pid_t root, pid_t *pids, size_t room);

/* Threads and page tables (cheap). Adds to *f; false when the process is gone. */
bool footprint_add_light(pid_t pid, struct footprint *f);

/* User memory and descriptors (walks the mappings, so seldom). */
void footprint_add_heavy(pid_t pid, struct footprint *f);

long footprint_total_kb(const struct footprint *f);

#endif
