/* What enumerations are called in answers and traces. */
#ifndef DEBUG_WORDS_H
#define DEBUG_WORDS_H

#include "hub/look.h"

/* "parked", "running", ... */
const char *words_state(enum look_state state);

/* "mutex", "descriptor", ...; "?" for what is none. */
const char *words_wait(enum wait_kind kind);

#endif
