/* The calls as a program built with -D_FORTIFY_SOURCE=2 makes them (__read_chk and so on): they
 * wait and give what the plain ones do, and an overflow still ends the program. */
#include <poll.h>
#include <sys/resource.h>
#include <sys/select.h>

#include "kit/net.h"
#include "kit/threads.h"

/* Lengths that the compiler cannot see make it call the checking twins. */
static volatile size_t sixteen = 16, thousand = 1000;
static volatile nfds_t one = 1, nine = 9;

static int pair[2];
static FILE *stream;

static void send_line(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "line\n", 5, 0));
}

static void reading(void)
{
    char got[16];
    ssize_t n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    WHILE(send_line, NULL, n = read(pair[0], got, sixteen));
    EQUALS(n, 5, "read");
    WHILE(send_line, NULL, n = recv(pair[0], got, sixteen, 0));
    EQUALS(n, 5, "recv");
    WHILE(send_line, NULL, n = recvfrom(pair[0], got, sixteen, 0, NULL, NULL));
    EQUALS(n, 5, "recvfrom");
    BYTES(got, "line\n", 5, "its bytes");
    int file = MUST(open("/proc/self/exe", O_RDONLY));
    EQUALS(pread(file, got, sixteen, 0), 16, "pread");
    BYTES(got, "\177ELF", 4, "its bytes");
    EQUALS(pread64(file, got, sixteen, 0), 16, "pread64");
    close(file);
    net_close(pair);
}

static void waiting(void)
{
    struct pollfd fds[4];
    struct timespec limit = {4, 0};
    char c[8];
    int n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    fds[0] = (struct pollfd){pair[0], POLLIN, 0};
    WHILE(send_line, NULL, n = poll(fds, one, 4000));
    EQUALS(n, 1, "poll");
    MUST(recv(pair[0], c, 5, 0));
    WHILE(send_line, NULL, n = ppoll(fds, one, &limit, NULL));
    EQUALS(n, 1, "ppoll");
    fd_set in;
    volatile int fd = pair[0];
    FD_ZERO(&in);
    FD_SET(fd, &in);
    EQUALS(select(fd + 1, &in, NULL, NULL, NULL), 1, "select");
    HOLDS(FD_ISSET(fd, &in), "FD_ISSET");
    net_close(pair);
}

static void streams(void)
{
    char got[16] = "";
    char *line;
    size_t n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    stream = fdopen(pair[0], "r");
    MUST_BE(stream != NULL);
    volatile int room = 16;
    WHILE(send_line, NULL, line = fgets(got, room, stream));
    HOLDS(line == got, "fgets");
    BYTES(got, "line\n", 6, "its line");
    WHILE(send_line, NULL, line = fgets_unlocked(got, room, stream));
    HOLDS(line == got, "fgets_unlocked");
    volatile size_t five = 5;
    WHILE(send_line, NULL, n = fread(got, 1, five, stream));
    EQUALS(n, 5, "fread");
    WHILE(send_line, NULL, n = fread_unlocked(got, 1, five, stream));
    EQUALS(n, 5, "fread_unlocked");
    fclose(stream);
    int out = MUST(dup(pair[1]));
    stream = fdopen(out, "w");
    fclose(stream);
    close(pair[1]);
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    stream = fdopen(MUST(dup(pair[0])), "w");
    EQUALS(fprintf(stream, "%s %d\n", "number", 7), 9, "fprintf");
    EQUALS(fflush(stream), 0, "fflush");
    EQUALS(recv(pair[1], got, sizeof(got), 0), 9, "is sent");
    EQUALS(dprintf(pair[0], "%d", 12), 2, "dprintf");
    EQUALS(recv(pair[1], got, sizeof(got), 0), 2, "is sent");
    fclose(stream);
    net_close(pair);
}

/* Each in a child that must die by SIGABRT; what libc says on stderr is not looked at. */
static int overflow_read(void)
{
    char got[8];
    close(STDERR_FILENO);
    return (int)read(0, got, thousand);
}

static int overflow_recv(void)
{
    char got[8];
    close(STDERR_FILENO);
    return (int)recv(0, got, thousand, 0);
}

static int overflow_poll(void)
{
    struct pollfd fds[2] = {{-1, 0, 0}, {-1, 0, 0}};
    close(STDERR_FILENO);
    return poll(fds, nine, 0);
}

static int overflow_ppoll(void)
{
    struct pollfd fds[2] = {{-1, 0, 0}, {-1, 0, 0}};
    struct timespec now = {0, 0};
    close(STDERR_FILENO);
    return ppoll(fds, nine, &now, NULL);
}

static int overflow_fd_set(void)
{
    fd_set set;
    volatile int fd = 2000;
    close(STDERR_FILENO);
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return 0;
}

static void overflows(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    EXPECT_KILLED(child_run(overflow_read), SIGABRT);
    EXPECT_KILLED(child_run(overflow_recv), SIGABRT);
    EXPECT_KILLED(child_run(overflow_poll), SIGABRT);
    EXPECT_KILLED(child_run(overflow_ppoll), SIGABRT);
    EXPECT_KILLED(child_run(overflow_fd_set), SIGABRT);
}

static const struct check checks[] = {CHECK(reading), CHECK(waiting), CHECK(streams),
                                      CHECK(overflows)};

TICKING_MAIN(checks)
