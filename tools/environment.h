/* What the program finds in its environment: libgreen in LD_PRELOAD. */
#ifndef TOOLS_ENVIRONMENT_H
#define TOOLS_ENVIRONMENT_H

/* The path of libgreen.so, absolute: `asked` (--lib) where it is not NULL, else the one beside
 * eventlet-run, in ../lib beside its directory, or where it was installed. Ends in say_no() when
 * there is none that the loader would take. The caller frees it. */
char *environment_library(const char *asked);

/* Put the library into LD_PRELOAD, behind `runtimes` (NULL-terminated) and the entries that are
 * there: whoever comes first sees the program's calls first and hands them on. Another libgreen
 * there gives way. `program` is where the runtimes are looked up from. */
void environment_preload(const char *library, const char *program, char *const *runtimes);

#endif
