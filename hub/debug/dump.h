/* --dump-signal: a list of all green threads with their stacks, at a signal. */
#ifndef DEBUG_DUMP_H
#define DEBUG_DUMP_H

#include "hub/debug/put.h"

/* Install the handler, if one was asked for. In the constructor. */
void dump_start(void);

/* Everything: hubs, threads, stacks. In a reporter (report.h). */
void dump_write(struct put *p);

#endif
