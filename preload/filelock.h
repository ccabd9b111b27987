/* Locks on files. */
#ifndef PRELOAD_FILELOCK_H
#define PRELOAD_FILELOCK_H

/* fcntl(fd, F_SETLKW or F_OFD_SETLKW, arg) of a green thread. A cancellation point. May switch. */
int filelock_fcntl(int fd, int cmd, long arg) __attribute__((visibility("hidden")));

#endif
