/* eventfd: reading 0 waits, adding past the limit waits, semaphore mode, sizes, wakes. */
#include <poll.h>
#include <sys/eventfd.h>

#include "kit/expect.h"
#include "kit/threads.h"

static int event;

static void add(void *arg)
{
    MUST(eventfd_write(event, *(eventfd_t *)arg));
}

static void take(void *arg)
{
    MUST(read(event, arg, 8));
}

static void counting(void)
{
    uint64_t value = 0;
    eventfd_t five = 5;
    ssize_t n;
    event = MUST(eventfd(0, 0));
    WHILE(add, &five, n = read(event, &value, sizeof(value)));
    EQUALS(n, 8, "read waits for a count");
    EQUALS(value, 5, "and takes all of it");
    add(&five);
    add(&five);
    int result;
    WHILE(add, &five, result = eventfd_read(event, &value));
    EQUALS(result, 0, "eventfd_read");
    HOLDS(value == 10 || value == 15, "takes the sum");
    if (value == 10)
        MUST(eventfd_read(event, &value));
    WHILE(add, &five, result = eventfd_read(event, &value));
    EQUALS(result, 0, "eventfd_read waits for a count");
    EQUALS(value, 5, "and takes it");
    FAILS(read(event, &value, 7), EINVAL, "room for 7 bytes");
    FAILS(write(event, &value, 7), EINVAL, "7 bytes");
    value = UINT64_MAX;
    FAILS(write(event, &value, 8), EINVAL, "the value that is none");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = read(event, &value, sizeof(value)));
    FAILS(n, EINTR, "a signal interrupts read");
    EQUALS(fcntl(event, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    close(event);
}

static void overflow(void)
{
    uint64_t value = UINT64_MAX - 1, two = 2;
    ssize_t n;
    event = MUST(eventfd(0, 0));
    EQUALS(write(event, &value, 8), 8, "the highest count");
    uint64_t got = 0;
    WHILE(take, &got, n = write(event, &two, 8));
    EQUALS(n, 8, "write waits until there is room");
    HOLDS(got == UINT64_MAX - 1, "the reader took the count before");
    EQUALS(read(event, &got, 8), 8, "read");
    EQUALS(got, 2, "the count after");
    EQUALS(write(event, &value, 8), 8, "the highest count again");
    MUST(fcntl(event, F_SETFL, O_NONBLOCK));
    FAILS(write(event, &two, 8), EAGAIN, "O_NONBLOCK");
    MUST(fcntl(event, F_SETFL, 0));
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = write(event, &two, 8));
    FAILS(n, EINTR, "a signal interrupts write");
    struct pollfd wait = {event, POLLIN | POLLOUT, 0};
    EQUALS(poll(&wait, 1, 0), 1, "poll");
    EQUALS(wait.revents, POLLIN, "no room to write");
    close(event);
}

enum { takers = 4 };
static atomic_int taken;

static void *taker(void *unused)
{
    uint64_t value = 0;
    (void)unused;
    for (int i = 0; i < 5; i++) {
        EQUALS(read(event, &value, 8), 8, "read");
        EQUALS(value, 1, "gives 1");
        atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

static void semaphore(void)
{
    pthread_t threads[takers];
    uint64_t value;
    atomic_store(&taken, 0);
    event = MUST(eventfd(3, EFD_SEMAPHORE));
    for (int i = 0; i < takers; i++)
        threads[i] = start(taker, NULL);
    for (int i = 0; i < 2000 && atomic_load(&taken) < 3; i++)
        sleep_ms(1);
    ticker_wait(10);
    EQUALS(atomic_load(&taken), 3, "as many reads as it counts");
    for (int i = 3; i < takers * 5; i++) {
        eventfd_t one = 1;
        add(&one);
    }
    for (int i = 0; i < takers; i++)
        finish(threads[i]);
    EQUALS(atomic_load(&taken), takers * 5, "each count lets one read through");
    MUST(fcntl(event, F_SETFL, O_NONBLOCK));
    FAILS(read(event, &value, 8), EAGAIN, "none is left");
    close(event);
}

static void flags(void)
{
    uint64_t value;
    FAILS(eventfd(0, 0x10), EINVAL, "an unknown flag");
    event = MUST(eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC));
    EQUALS(fcntl(event, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "EFD_NONBLOCK");
    EQUALS(fcntl(event, F_GETFD), FD_CLOEXEC, "EFD_CLOEXEC");
    EQUALS(read(event, &value, 8), 8, "the first count");
    EQUALS(value, 7, "as given");
    FAILS(read(event, &value, 8), EAGAIN, "EAGAIN");
    FAILS(read(event, bad_pointer, 8), EAGAIN, "EAGAIN before EFAULT");
    close(event);
}

static const struct check checks[] = {CHECK(counting), CHECK(overflow), CHECK(semaphore),
                                      CHECK(flags)};

TICKING_MAIN(checks)
