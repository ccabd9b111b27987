/* Pseudo-terminals: lines in canonical mode, VMIN and VTIME otherwise, hang-up, the master's
 * side, signals from the keyboard. */
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int master, slave;

static void pty_make(void)
{
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
}

static void pty_drop(void)
{
    close(slave);
    close(master);
}

/* Non-canonical, no echo, with these VMIN and VTIME (tenths of a second). */
static void pty_raw(int min, int tenths)
{
    struct termios mode;
    MUST(tcgetattr(slave, &mode));
    cfmakeraw(&mode);
    mode.c_cc[VMIN] = (cc_t)min;
    mode.c_cc[VTIME] = (cc_t)tenths;
    MUST(tcsetattr(slave, TCSANOW, &mode));
}

/* The kernel hands on what is written in pieces, here the text and the line's end: a read may return one. */
static ssize_t read_all(int fd, char *got, size_t length)
{
    size_t have = 0;
    while (have < length)
        have += (size_t)MUST_LONG(read(fd, got + have, length - have));
    return (ssize_t)have;
}

static void type_line(void *unused)
{
    (void)unused;
    MUST(write(master, "hel", 3));
    ticker_wait(5);
    MUST(write(master, "lo\nnext\n", 8));
}

static void canonical(void)
{
    char got[64];
    ssize_t n;
    pty_make();
    struct termios mode;
    MUST(tcgetattr(slave, &mode));
    mode.c_lflag &= (tcflag_t)~ECHO;
    MUST(tcsetattr(slave, TCSANOW, &mode));
    HOLDS(isatty(slave), "it is a terminal");
    WHILE(type_line, NULL, n = read(slave, got, sizeof(got)));
    EQUALS(n, 6, "read waits for a whole line");
    BYTES(got, "hello\n", 6, "the first");
    EQUALS(read(slave, got, 2), 2, "a part of the next");
    EQUALS(read(slave, got, sizeof(got)), 3, "and the rest");
    MUST(write(master, "x\004", 2));
    EQUALS(read(slave, got, sizeof(got)), 1, "an end of file ends a line");
    MUST(write(master, "\004", 1));
    EQUALS(read(slave, got, sizeof(got)), 0, "alone it is the end of file");
    MUST(write(slave, "out\n", 4));
    EQUALS(read_all(master, got, 5), 5, "the master reads what is written");
    BYTES(got, "out\r\n", 5, "with a carriage return");
    EQUALS(fcntl(slave, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    pty_drop();
}

static void write_slave(void *unused)
{
    (void)unused;
    MUST(write(slave, "out", 3));
}

static void master_reads(void)
{
    char got[16];
    ssize_t n;
    pty_make();
    WHILE(write_slave, NULL, n = read(master, got, sizeof(got)));
    EQUALS(n, 3, "the master waits for output");
    struct pollfd wait = {master, POLLIN, 0};
    int ready;
    WHILE(write_slave, NULL, ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll too");
    EQUALS(read(master, got, sizeof(got)), 3, "which it reads");
    MUST(fcntl(master, F_SETFL, O_NONBLOCK));
    FAILS(read(master, got, sizeof(got)), EAGAIN, "O_NONBLOCK");
    MUST(fcntl(master, F_SETFL, 0));
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = read(master, got, sizeof(got)));
    FAILS(n, EINTR, "a signal interrupts it");
    pty_drop();
}

static void type_slowly(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5; i++) {
        MUST(write(master, &"12345"[i], 1));
        ticker_wait(4);
    }
}

static void vmin_vtime(void)
{
    char got[16];
    ssize_t n;
    pty_make();
    pty_raw(1, 0);
    WHILE(type_slowly, NULL, n = read(slave, got, sizeof(got)));
    EQUALS(n, 1, "VMIN 1 waits for one byte");
    read_all(slave, got, 4);
    pty_raw(5, 0);
    WHILE(type_slowly, NULL, n = read(slave, got, sizeof(got)));
    EQUALS(n, 5, "VMIN 5 waits for five");
    BYTES(got, "12345", 5, "in order");
    MUST(write(master, "ab", 2));
    WHILE(type_slowly, NULL, n = read(slave, got, 5));
    EQUALS(n, 5, "also with two there already");
    BYTES(got, "ab123", 5, "in order");
    EQUALS(read(slave, got, 2), 2, "two that are there when two are asked for");
    WHILE(type_slowly, NULL, n = read(slave, got, 3));
    EQUALS(n, 3, "or for as many as asked for");
    EQUALS(read(slave, got, 2), 2, "the rest");
    pty_raw(0, 0);
    EQUALS(read(slave, got, sizeof(got)), 0, "VMIN 0 and VTIME 0 do not wait");
    pty_raw(0, 1);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    EQUALS(read(slave, got, sizeof(got)), 0, "VTIME ends a read");
    LASTED_TICKS(began, 100, "after its time");
    OTHERS_RAN(ticks, read(slave, got, sizeof(got)));
    pty_raw(0, 30);
    WHILE(type_slowly, NULL, n = read(slave, got, sizeof(got)));
    HOLDS(n >= 1, "VTIME with a byte in time");
    pty_raw(5, 1);
    tcflush(slave, TCIFLUSH);
    MUST(write(master, "ab", 2));
    began = moment();
    EQUALS(read(slave, got, sizeof(got)), 2, "VMIN 5 and VTIME: a pause ends it");
    LASTED_TICKS(began, 100, "after its time");
    pty_drop();
}

static void close_master(void *unused)
{
    (void)unused;
    close(master);
}

static void close_slave(void *unused)
{
    (void)unused;
    close(slave);
}

static void hang_up(void)
{
    char got[16];
    ssize_t n;
    signal(SIGHUP, SIG_IGN);
    pty_make();
    WHILE(close_slave, NULL, n = read(master, got, sizeof(got)));
    FAILS(n, EIO, "the last slave closes: the master reads EIO");
    struct pollfd wait = {master, POLLIN, 0};
    EQUALS(poll(&wait, 1, 1000), 1, "poll");
    EQUALS(wait.revents, POLLHUP, "says POLLHUP");
    close(master);
    pty_make();
    WHILE(close_master, NULL, n = read(slave, got, sizeof(got)));
    FAILS(n, EIO, "the master closes: the slave reads EIO");
    FAILS(write(slave, "x", 1), EIO, "and writes EIO");
    close(slave);
}

static void drain_master(void *unused)
{
    char part[4096];
    (void)unused;
    for (long left = 60000; left > 0;)
        left -= MUST_LONG(read(master, part, sizeof(part)));
}

static void full(void)
{
    static char block[60000];
    ssize_t n;
    memset(block, 'x', sizeof(block));
    pty_make();
    pty_raw(1, 0);
    WHILE(drain_master, NULL, n = write(slave, block, sizeof(block)));
    EQUALS(n, sizeof(block), "write waits for the master to read");
    EQUALS(tcdrain(slave), 0, "tcdrain");
    int waiting = -1;
    EQUALS(ioctl(slave, TIOCOUTQ, &waiting), 0, "TIOCOUTQ");
    EQUALS(waiting, 0, "nothing is left");
    pty_drop();
}

static const struct check checks[] = {CHECK(canonical), CHECK(master_reads), CHECK(vmin_vtime),
                                      CHECK(hang_up), CHECK(full)};

TICKING_MAIN(checks)
