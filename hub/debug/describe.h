/* Green threads in words, for who reports. For one reporter at a time (report.h). */
#ifndef DEBUG_DESCRIBE_H
#define DEBUG_DESCRIBE_H

#include "hub/debug/put.h"
#include "hub/look.h"

/* "descriptor 5 (peer 127.0.0.1:80), for 1.250 s, at most 3.000 s more"; nothing for a thread that
 * does not wait. Asks the kernel about descriptors. `now` is clock_now(). */
void describe_wait(struct put *p, const struct green_look *l, int64_t now);

/* What a descriptor is, in brackets: "(peer 127.0.0.1:80)". */
void describe_descriptor(struct put *p, int fd);

/* An address: "0x55d0 <lock>", "0x7f10 <recv+0x12> (libc.so.6)". */
void describe_object(struct put *p, uintptr_t address);

/* Who holds a mutex: the owner's id in libc's terms, 0 for nobody, and the green thread's id, 0 when
 * it is none of ours. */
pid_t describe_owner(const void *mutex, uint64_t *green);

/* The green thread that holds a mutex; false when nobody or somebody else does. */
bool describe_owner_look(const void *mutex, struct green_look *owner);

/* The stack of a thread, a line for each frame, innermost first, after `indent`. Frames of the
 * runtime's own are left out but for the function that the program called. */
void describe_stack(struct put *p, const struct green_look *l, const char *indent);

/* The same for addresses that unwind_walk() gave. */
void describe_frames(struct put *p, const uintptr_t *pcs, size_t n, const char *indent);

/* Id, name, state and what it waits for: a line of a table. `heading` writes the table's first. */
void describe_heading(struct put *p);
void describe_line(struct put *p, const struct green_look *l, int64_t now);

#endif
