/* The double fork, and daemon(): orphans go on working with threads, and tell through a pipe. */
#include "check.h"

#include <poll.h>
#include <sys/socket.h>

static int channel[2];

static void *shout(void *argument)
{
    sleep_ms(5);
    EXPECT_EQ(write(channel[1], argument, 1), 1);
    return NULL;
}

/* What the orphan does: threads that sleep, then write. */
static void work(void)
{
    pthread_t threads[5];
    for (int i = 0; i < 5; i++) {
        threads[i] = start(shout, "w");
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(write(channel[1], "!", 1), 1);
}

/* Reads what orphans write until none is left. */
static int heard(char *text, size_t size)
{
    size_t got = 0;
    ssize_t n;
    close(channel[1]);
    while (got < size - 1 && (n = read(channel[0], text + got, size - 1 - got)) > 0) {
        got += (size_t)n;
    }
    text[got] = 0;
    close(channel[0]);
    return (int)got;
}

static int fork_twice(void)
{
    EXPECT(setsid() > 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(channel[0]);
        work();
        _exit(0);
    }
    return pid > 0 ? 0 : 1;
}

static void *fork_twice_on_thread(void *argument)
{
    EXPECT_EXITS(child_run(fork_twice), 0);
    return argument;
}

static void orphans_work(void)
{
    char text[32];
    EXPECT_EQ(pipe(channel), 0);
    EXPECT_EXITS(child_run(fork_twice), 0);
    EXPECT_EQ(heard(text, sizeof text), 6);
    EXPECT(strcmp(text, "wwwww!") == 0);
}

static void orphans_of_threads_work(void)
{
    char text[32];
    EXPECT_EQ(pipe(channel), 0);
    finish(start(fork_twice_on_thread, NULL));
    EXPECT_EQ(heard(text, sizeof text), 6);
    EXPECT(strcmp(text, "wwwww!") == 0);
}

static int become_daemon(void)
{
    pid_t before = getpid();
    if (daemon(1, 1) != 0 || getpid() == before || getsid(0) != getpid()) {
        return 1;
    }
    close(channel[0]);
    work();
    _exit(0);
}

static void *become_daemon_on_thread(void *argument)
{
    EXPECT_EXITS(child_run(become_daemon), 0);
    return argument;
}

static void daemon_works(void)
{
    char text[32];
    EXPECT_EQ(pipe(channel), 0);
    EXPECT_EXITS(child_run(become_daemon), 0);
    EXPECT_EQ(heard(text, sizeof text), 6);
    EXPECT_EQ(pipe(channel), 0);
    finish(start(become_daemon_on_thread, NULL));
    EXPECT_EQ(heard(text, sizeof text), 6);
}

static int become_daemon_with_threads(void)
{
    pthread_detach(start(shout, "?"));
    return become_daemon();
}

static void threads_are_left_behind(void)
{
    char text[32];
    EXPECT_EQ(pipe(channel), 0);
    EXPECT_EXITS(child_run(become_daemon_with_threads), 0);
    int got = heard(text, sizeof text);
    /* The thread that stayed behind died with its process, before or after its word. */
    EXPECT(got == 6 || got == 7);
    EXPECT_EQ(text[got - 1], '!');
}

static const struct check checks[] = {
    CHECK(orphans_work),
    CHECK(orphans_of_threads_work),
    CHECK(daemon_works),
    CHECK(threads_are_left_behind),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
