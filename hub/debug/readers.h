/* --warn-multiple-readers. */
#ifndef DEBUG_READERS_H
#define DEBUG_READERS_H

/* At start. */
void readers_start(void);

#endif
