/* epoll_wait, epoll_pwait and epoll_pwait2: time-outs, counts, errors, signals and masks. */
#include <limits.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "kit/net.h"
#include "kit/threads.h"

static int pair[2], set;

static void send_byte(void *unused)
{
    (void)unused;
    MUST(send(pair[1], "x", 1, 0));
}

static void take_byte(void)
{
    char c;
    MUST(recv(pair[0], &c, 1, 0));
}

static int wait_epoll(struct epoll_event *events, int most, int ms)
{
    return epoll_wait(set, events, most, ms);
}

static int wait_pwait(struct epoll_event *events, int most, int ms)
{
    return epoll_pwait(set, events, most, ms, NULL);
}

static int wait_pwait2(struct epoll_event *events, int most, int ms)
{
    struct timespec limit = {ms / 1000, (long)(ms % 1000) * 1000000};
    return epoll_pwait2(set, events, most, ms < 0 ? NULL : &limit, NULL);
}

typedef int waiting(struct epoll_event *events, int most, int ms);

static void check_wait(waiting *wait)
{
    struct epoll_event events[4], wanted = {.events = EPOLLIN, .data.u64 = 0x1234567890abcdefu};
    int n;
    net_pair(AF_INET, SOCK_STREAM, pair);
    set = MUST(epoll_create1(EPOLL_CLOEXEC));
    EQUALS(fcntl(set, F_GETFD), FD_CLOEXEC, "EPOLL_CLOEXEC");
    EQUALS(wait(events, 4, 0), 0, "an empty set");
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    EQUALS(wait(events, 4, 0), 0, "0 does not wait");
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    EQUALS(wait(events, 4, 40), 0, "40 ms with nothing");
    LASTED(began, 40, "after its time");
    OTHERS_RAN(ticks, wait(events, 4, 40));
    WHILE(send_byte, NULL, n = wait(events, 4, 4000));
    EQUALS(n, 1, "something comes in time");
    EQUALS(events[0].events, EPOLLIN, "EPOLLIN");
    HOLDS(events[0].data.u64 == 0x1234567890abcdefu, "the data is handed back");
    EQUALS(wait(events, 4, 0), 1, "it is still there");
    EQUALS(wait(events, 4, -1), 1, "told without waiting");
    take_byte();
    WHILE(send_byte, NULL, n = wait(events, 4, -1));
    EQUALS(n, 1, "no limit waits");
    take_byte();
    /* Below the stack, or the kernel would say that so many end outside the address space. */
    static struct epoll_event low[1];
    WHILE(send_byte, NULL, n = wait(low, INT_MAX / 16, -1));
    EQUALS(n, 1, "room for very many");
    take_byte();
    signal_catch(SIGUSR1, SA_RESTART);
    KICKED(SIGUSR1, n = wait(events, 4, -1));
    FAILS(n, EINTR, "a signal interrupts it in spite of SA_RESTART");
    FAILS(wait(events, 0, 0), EINVAL, "room for none");
    FAILS(wait(events, -1, 0), EINVAL, "room for -1");
    FAILS(wait(events, INT_MAX, 0), EINVAL, "room for too many");
    send_byte(NULL);
    FAILS(wait(bad_pointer, 4, 1000), EFAULT, "a bad address");
    EQUALS(wait(events, 4, 1000), 1, "after which the event is still there");
    int keep = set;
    set = -1;
    FAILS(wait(events, 4, 0), EBADF, "descriptor -1");
    set = pair[0];
    FAILS(wait(events, 4, 0), EINVAL, "no epoll set");
    set = keep;
    close(set);
    net_close(pair);
}

static void plain(void)
{
    check_wait(wait_epoll);
}

static void pwait(void)
{
    check_wait(wait_pwait);
}

static void pwait2(void)
{
    check_wait(wait_pwait2);
    struct timespec limit = {0, -1};
    struct epoll_event event;
    set = MUST(epoll_create1(0));
    FAILS(epoll_pwait2(set, &event, 1, &limit, NULL), EINVAL, "a time that is none");
    limit = (struct timespec){0, 200000};
    int64_t began = moment();
    for (int i = 0; i < 20; i++)
        EQUALS(epoll_pwait2(set, &event, 1, &limit, NULL), 0, "200 us");
    LASTED(began, 4, "each after its time");
    close(set);
}

static void masks(void)
{
    struct epoll_event event, wanted = {.events = EPOLLIN};
    sigset_t none, usr1, now;
    int n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    set = MUST(epoll_create1(0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal_catch(SIGUSR1, 0);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal_count = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    EQUALS(epoll_wait(set, &event, 1, 10), 0, "epoll_wait does not let it in");
    FAILS(epoll_pwait(set, &event, 1, 3000, &none), EINTR, "epoll_pwait lets it in");
    EQUALS(signal_count, 1, "its handler ran");
    pthread_kill(pthread_self(), SIGUSR1);
    struct timespec limit = {3, 0};
    FAILS(epoll_pwait2(set, &event, 1, &limit, &none), EINTR, "epoll_pwait2 lets it in");
    EQUALS(signal_count, 2, "its handler ran");
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EQUALS(sigismember(&now, SIGUSR1), 1, "afterwards it is blocked again");
    KICKED(SIGUSR1, n = epoll_pwait(set, &event, 1, -1, &none));
    FAILS(n, EINTR, "a signal during the wait");
    while (epoll_pwait(set, &event, 1, 0, &none) < 0)
        continue;
    WHILE(send_byte, NULL, n = epoll_pwait(set, &event, 1, -1, &none));
    EQUALS(n, 1, "data wakes it too");
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    close(set);
    net_close(pair);
}

static void control(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    set = MUST(epoll_create(1));
    FAILS(epoll_create(0), EINVAL, "a size of 0");
    FAILS(epoll_create1(0x10), EINVAL, "an unknown flag");
    EQUALS(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &event), 0, "add");
    FAILS(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &event), EEXIST, "add again");
    int twin = MUST(dup(pair[0]));
    EQUALS(epoll_ctl(set, EPOLL_CTL_ADD, twin, &event), 0, "add a duplicate");
    EQUALS(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &event), 0, "change");
    EQUALS(epoll_ctl(set, EPOLL_CTL_DEL, pair[0], NULL), 0, "remove");
    FAILS(epoll_ctl(set, EPOLL_CTL_DEL, pair[0], NULL), ENOENT, "remove again");
    FAILS(epoll_ctl(set, EPOLL_CTL_MOD, pair[0], &event), ENOENT, "change what is not there");
    FAILS(epoll_ctl(set, EPOLL_CTL_ADD, set, &event), EINVAL, "the set into itself");
    FAILS(epoll_ctl(set, 99, pair[0], &event), EINVAL, "an unknown operation");
    FAILS(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], bad_pointer), EFAULT, "a bad address");
    FAILS(epoll_ctl(set, EPOLL_CTL_ADD, 12345, &event), EBADF, "a closed descriptor");
    FAILS(epoll_ctl(12345, EPOLL_CTL_ADD, pair[0], &event), EBADF, "a closed set");
    FAILS(epoll_ctl(pair[1], EPOLL_CTL_ADD, pair[0], &event), EINVAL, "no set");
    int file = MUST(open("/proc/self/exe", O_RDONLY));
    FAILS(epoll_ctl(set, EPOLL_CTL_ADD, file, &event), EPERM, "a plain file");
    close(file);
    close(twin);
    close(set);
    net_close(pair);
}

/* The raw number, which some runtimes use. */
static void raw(void)
{
    struct epoll_event event, wanted = {.events = EPOLLIN};
    long n;
    net_pair(AF_UNIX, SOCK_STREAM, pair);
    set = MUST(epoll_create1(0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &wanted));
    EQUALS(syscall(SYS_epoll_pwait, set, &event, 1, 10, NULL, 8), 0, "with nothing");
    WHILE(send_byte, NULL, n = syscall(SYS_epoll_pwait, set, &event, 1, -1, NULL, 8));
    EQUALS(n, 1, "with something");
    close(set);
    net_close(pair);
}

static const struct check checks[] = {CHECK(plain), CHECK(pwait),   CHECK(pwait2),
                                      CHECK(masks), CHECK(control), CHECK(raw)};

TICKING_MAIN(checks)
