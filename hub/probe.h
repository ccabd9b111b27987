/* Static probes for tracers (bpftrace, SystemTap, perf): provider "libgreen". Each is one nop and a note
 * in the file. Their names and arguments are in libgreen(7); they stay as they are. */
#ifndef HUB_PROBE_H
#define HUB_PROBE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE1(name, a) DTRACE_PROBE1(libgreen, name, a)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(libgreen, name, a, b, c)
#else
#define PROBE1(name, a) ((void)0)
#define PROBE3(name, a, b, c) ((void)0)
#endif

#endif
