/* See syslog.c. */
#ifndef PRELOAD_SYSLOG_H
#define PRELOAD_SYSLOG_H

/* In a forked child: nobody is inside. */
void syslog_fork(void);

#endif
