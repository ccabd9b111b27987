/* What the process holds when nothing of it runs: to be compared with what it held before. */
#ifndef STRESS_HELD_H
#define STRESS_HELD_H

struct held {
    long descriptors; /* the runtime's own counted */
    long threads;     /* the kernel's */
    long kib;         /* address space, after so many threads at once that each free stack served one */
};

/* Idle OS threads retire after a while: waits until there are no more than `most`, or, if that is 0,
 * until their number stands still. */
struct held held_now(long most);

/* What the runtime keeps for the next time, once it has needed it: two idle OS threads, and for threads that
 * compute one more OS thread with two descriptors for each processor. */
long held_threads_kept(void);

/* Calls fail() for each that has grown. */
void held_compare(const struct held *before, const struct held *after);

/* Of stress.c: something does not add up. */
void fail(const char *what, long got, long expected);

#endif
