/* A program that closes everything with close_range, in each of its ways, then works on. */
#include <limits.h>
#include <linux/close_range.h>

#include "kit/going_on.h"

static void check_closed(int from, int to)
{
    for (int fd = from; fd <= to; fd++)
        FAILS(fcntl(fd, F_GETFD), EBADF, "it is closed");
}

static void everything(void)
{
    for (int i = 0; i < 5; i++)
        MUST(dup(STDOUT_FILENO));
    EQUALS(close_range(3, UINT_MAX, 0), 0, "close_range to the end");
    check_closed(3, 20);
    int fd = MUST(dup(STDOUT_FILENO));
    EQUALS(fd, 3, "the lowest number is free");
    close(fd);
    going_on();
    EQUALS(close_range(3, INT_MAX, 0), 0, "close_range to INT_MAX");
    going_on();
    EQUALS(close_range(3, 1048576, 0), 0, "close_range past the limit");
    going_on();
}

static void a_part(void)
{
    for (int fd = 20; fd < 30; fd++)
        MUST(dup2(STDOUT_FILENO, fd));
    EQUALS(close_range(22, 25, 0), 0, "close four");
    check_closed(22, 25);
    EQUALS(fcntl(21, F_GETFD), 0, "not the one before");
    EQUALS(fcntl(26, F_GETFD), 0, "nor the one behind");
    EQUALS(close_range(20, 29, 0), 0, "close the rest");
    check_closed(20, 29);
    FAILS(close_range(5, 4, 0), EINVAL, "a range that is none");
    FAILS(close_range(5, 6, 0x100), EINVAL, "an unknown flag");
}

static void cloexec(void)
{
    for (int fd = 20; fd < 30; fd++)
        MUST(dup2(STDOUT_FILENO, fd));
    EQUALS(close_range(20, UINT_MAX, CLOSE_RANGE_CLOEXEC), 0, "CLOSE_RANGE_CLOEXEC");
    for (int fd = 20; fd < 30; fd++)
        EQUALS(fcntl(fd, F_GETFD), FD_CLOEXEC, "sets FD_CLOEXEC");
    going_on();
    EQUALS(close_range(20, UINT_MAX, CLOSE_RANGE_UNSHARE), 0, "CLOSE_RANGE_UNSHARE");
    check_closed(20, 29);
    going_on();
}

static const struct check checks[] = {CHECK(everything), CHECK(a_part), CHECK(cloexec)};

TICKING_MAIN(checks)
