/* A program that closes everything with closefrom, then works on. */
#include "kit/going_on.h"

static void close_all(void)
{
    int first = 3;
    for (int i = 0; i < 5; i++)
        MUST(dup(STDOUT_FILENO));
    closefrom(first);
    for (int fd = first; fd < 20; fd++)
        FAILS(fcntl(fd, F_GETFD), EBADF, "it is closed");
    int fd = MUST(dup(STDOUT_FILENO));
    EQUALS(fd, first, "the lowest number is free");
    close(fd);
}

static void then_go_on(void)
{
    close_all();
    going_on();
}

static void again(void)
{
    close_all();
    going_on();
}

/* As a daemon does: with threads alive that wait on nothing of it. */
static atomic_bool ends;

static void *sleeper_body(void *unused)
{
    (void)unused;
    while (!atomic_load(&ends))
        sleep_ms(2);
    return NULL;
}

static void beside_threads(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        threads[i] = start(sleeper_body, NULL);
    close_all();
    going_on();
    atomic_store(&ends, true);
    for (int i = 0; i < 8; i++)
        finish(threads[i]);
}

static void above_all(void)
{
    closefrom(100000);
    EQUALS(fcntl(STDOUT_FILENO, F_GETFD), 0, "nothing below is closed");
    going_on();
}

static const struct check checks[] = {CHECK(then_go_on), CHECK(again), CHECK(beside_threads),
                                      CHECK(above_all)};

TICKING_MAIN(checks)
