/* Signals on their way to green threads. Everything here is async-signal-safe, and never switches. */
#ifndef PRELOAD_SIGRECORD_H
#define PRELOAD_SIGRECORD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hub/green.h"

#pragma GCC visibility push(hidden)

/* One signal on its way to a handler. */
struct signal_record {
    struct signal_record *next;
    int sig;
    bool open;            /* its thread did not block it as it came */
    uint32_t dropped;     /* action_dropped(sig) as it was sent */
    struct green *target; /* while it is the process's: whose it is to be; NULL: who takes it */
    siginfo_t info;
};

/* NULL when all are in use. Any thread. */
struct signal_record *sigrecord_new(void);
void sigrecord_free(struct signal_record *r);

/* To the head of what is pending for a thread (its `arrived`), or for the process. Any thread. */
void sigrecord_push(struct signal_record *_Atomic *list, struct signal_record *r);

/* The signal becomes pending for g; `open`: g did not block it as it was sent. Without a record a standard
 * signal is pending all the same, and for a real-time one the result is EAGAIN. Any thread. */
int sigrecord_send(struct green *g, int sig, const siginfo_t *info, bool open);

/* Move what has arrived, oldest first, behind what is queued. g itself, signals held off. */
void sigrecords_settle(struct green *g);

/* The oldest of this number that is pending for g; false when there is none. g itself. */
bool sigrecord_take(struct green *g, int sig, struct signal_record *out);

/* In a forked child: none is in use. */
void sigrecords_fork(void);

#pragma GCC visibility pop

#endif
