/* A program that closes every number up to RLIMIT_NOFILE in a loop, then works on; and one that
 * closes what /proc/self/fd lists. */
#include <dirent.h>

#include "kit/going_on.h"

static void loop(void)
{
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    int last = limit.rlim_cur < 100000 ? (int)limit.rlim_cur : 100000;
    for (int i = 0; i < 5; i++)
        MUST(dup(STDOUT_FILENO));
    for (int fd = 3; fd < last; fd++)
        close(fd);
    for (int fd = 3; fd < 20; fd++)
        FAILS(fcntl(fd, F_GETFD), EBADF, "it is closed");
    int fd = MUST(dup(STDOUT_FILENO));
    EQUALS(fd, 3, "the lowest number is free");
    close(fd);
    going_on();
}

static void backwards(void)
{
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    int last = limit.rlim_cur < 100000 ? (int)limit.rlim_cur : 100000;
    for (int fd = last - 1; fd > 2; fd--)
        close(fd);
    going_on();
}

/* Numbers that are listed are closed one by one; those that another may need stay usable. */
static void listed(void)
{
    DIR *directory = opendir("/proc/self/fd");
    MUST_BE(directory != NULL);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(directory))
            close(fd);
    }
    closedir(directory);
    going_on();
}

/* dup2 over every number. */
static void over_everything(void)
{
    int null = MUST(open("/dev/null", O_RDWR));
    for (int fd = 3; fd < 1024; fd++)
        EQUALS(dup2(null, fd), fd, "dup2 over it");
    going_on();
    for (int fd = 3; fd < 1024; fd++)
        EQUALS(close(fd), 0, "close it");
    going_on();
}

static const struct check checks[] = {CHECK(loop), CHECK(backwards), CHECK(listed),
                                      CHECK(over_everything)};

TICKING_MAIN(checks)
