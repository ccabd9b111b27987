/* Names of system calls. */
#ifndef DEBUG_CALLS_H
#define DEBUG_CALLS_H

#include "hub/debug/put.h"

/* The name, or the number of one that hardly ever blocks. */
void calls_put(struct put *p, long number);

#endif
