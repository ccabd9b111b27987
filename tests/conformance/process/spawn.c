/* posix_spawn and posix_spawnp: file actions, attributes, errors, from several threads at once. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>

extern char **environ;

static int wait_for(pid_t pid)
{
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static int spawn_shell(const char *command, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr)
{
    char *arguments[] = { "sh", "-c", (char *)command, NULL };
    pid_t pid = -1;
    EXPECT_EQ(posix_spawn(&pid, "/bin/sh", actions, attr, arguments, environ), 0);
    EXPECT(pid > 0);
    return wait_for(pid);
}

static void statuses(void)
{
    EXPECT_EXITS(spawn_shell("exit 6", NULL, NULL), 6);
    EXPECT_KILLED(spawn_shell("kill -TERM $$", NULL, NULL), SIGTERM);
}

static void missing_programs_are_errors(void)
{
    char *arguments[] = { "x", NULL };
    pid_t pid = 77;
    EXPECT_EQ(posix_spawn(&pid, "/no/such/program", NULL, NULL, arguments, environ), ENOENT);
    EXPECT_EQ(posix_spawn(&pid, "/etc/passwd", NULL, NULL, arguments, environ), EACCES);
    EXPECT_EQ(posix_spawnp(&pid, "no-such-program-anywhere", NULL, NULL, arguments, environ), ENOENT);
    EXPECT_ERRNO(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static void spawnp_searches_the_path(void)
{
    char *arguments[] = { "true", NULL };
    pid_t pid;
    EXPECT_EQ(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ), 0);
    EXPECT_EXITS(wait_for(pid), 0);
}

static void file_actions_are_done_in_order(void)
{
    posix_spawn_file_actions_t actions;
    char text[64] = "";
    EXPECT_EQ(posix_spawn_file_actions_init(&actions), 0);
    EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 1, "output", O_CREAT | O_TRUNC | O_WRONLY, 0600), 0);
    EXPECT_EQ(posix_spawn_file_actions_adddup2(&actions, 1, 2), 0);
    EXPECT_EQ(posix_spawn_file_actions_addclose(&actions, 0), 0);
    EXPECT_EXITS(spawn_shell("echo out; echo err >&2; test -e /proc/self/fd/0 && echo open || true", &actions, NULL), 0);
    int fd = open("output", O_RDONLY);
    EXPECT_EQ(read(fd, text, sizeof text), 8);
    EXPECT(strcmp(text, "out\nerr\n") == 0);
    close(fd);
    EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);

    EXPECT_EQ(mkdir("below", 0700), 0);
    EXPECT_EQ(posix_spawn_file_actions_init(&actions), 0);
    EXPECT_EQ(posix_spawn_file_actions_addchdir_np(&actions, "below"), 0);
    EXPECT_EXITS(spawn_shell("echo made > here", &actions, NULL), 0);
    EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
    EXPECT_EQ(access("below/here", R_OK), 0);

    dup2(1, 300);
    EXPECT_EQ(posix_spawn_file_actions_init(&actions), 0);
    EXPECT_EQ(posix_spawn_file_actions_addclosefrom_np(&actions, 3), 0);
    EXPECT_EXITS(spawn_shell("test -e /proc/self/fd/300", &actions, NULL), 1);
    EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
    EXPECT_EXITS(spawn_shell("test -e /proc/self/fd/300", NULL, NULL), 0);
    close(300);

    EXPECT_EQ(posix_spawn_file_actions_init(&actions), 0);
    EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 5, "/no/such/file", O_RDONLY, 0), 0);
    char *arguments[] = { "true", NULL };
    pid_t pid;
    EXPECT_EQ(posix_spawn(&pid, "/bin/true", &actions, NULL, arguments, environ), ENOENT);
    EXPECT_EQ(posix_spawn_file_actions_addclose(&actions, -1), EBADF);
    EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
}

static void attributes_take_effect(void)
{
    posix_spawnattr_t attr;
    sigset_t set;
    EXPECT_EQ(posix_spawnattr_init(&attr), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    EXPECT_EQ(posix_spawnattr_setsigmask(&attr, &set), 0);
    EXPECT_EQ(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK), 0);
    EXPECT_EXITS(spawn_shell("kill -TERM $$; exit 3", NULL, &attr), 3);

    signal(SIGUSR1, SIG_IGN);
    EXPECT_EXITS(spawn_shell("kill -USR1 $$; exit 4", NULL, NULL), 4);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_EQ(posix_spawnattr_setsigdefault(&attr, &set), 0);
    EXPECT_EQ(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF), 0);
    EXPECT_KILLED(spawn_shell("kill -USR1 $$; exit 4", NULL, &attr), SIGUSR1);
    signal(SIGUSR1, SIG_DFL);

    EXPECT_EQ(posix_spawnattr_setpgroup(&attr, 0), 0);
    EXPECT_EQ(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP), 0);
    EXPECT_EXITS(spawn_shell("set -- $(cut -d ' ' -f 5 /proc/$$/stat); test $1 = $$", NULL, &attr), 0);
    EXPECT_EXITS(spawn_shell("set -- $(cut -d ' ' -f 5 /proc/$$/stat); test $1 = $$", NULL, NULL), 1);
    EXPECT_EQ(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID), 0);
    EXPECT_EXITS(spawn_shell("set -- $(cut -d ' ' -f 6 /proc/$$/stat); test $1 = $$", NULL, &attr), 0);
    EXPECT_EQ(posix_spawnattr_destroy(&attr), 0);
}

static void *spawn_with_pipe(void *argument)
{
    int fds[2], me = (int)(intptr_t)argument;
    for (int round = 0; round < 3; round++) {
        posix_spawn_file_actions_t actions;
        char command[64], text[64] = "", expected[64];
        char *arguments[] = { "sh", "-c", command, NULL };
        size_t got = 0;
        ssize_t n;
        pid_t pid;
        snprintf(command, sizeof command, "echo first; echo %d %d; exit %d", me, round, me);
        snprintf(expected, sizeof expected, "first\n%d %d\n", me, round);
        EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
        EXPECT_EQ(posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        close(fds[1]);
        while ((n = read(fds[0], text + got, sizeof text - 1 - got)) > 0) {
            got += (size_t)n;
        }
        EXPECT_EQ(n, 0);
        EXPECT(strcmp(text, expected) == 0);
        close(fds[0]);
        EXPECT_EXITS(wait_for(pid), me);
    }
    return NULL;
}

static void threads_spawn_at_the_same_time(void)
{
    pthread_t threads[6];
    for (intptr_t i = 0; i < 6; i++) {
        threads[i] = start(spawn_with_pipe, (void *)(i + 1));
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
}

static void *everything(void *argument)
{
    statuses();
    missing_programs_are_errors();
    spawnp_searches_the_path();
    EXPECT_EQ(rename("below", "beside"), 0);
    file_actions_are_done_in_order();
    attributes_take_effect();
    return argument;
}

static void everything_on_a_thread(void)
{
    finish(start(everything, NULL));
}

static const struct check checks[] = {
    CHECK(statuses),
    CHECK(missing_programs_are_errors),
    CHECK(spawnp_searches_the_path),
    CHECK(file_actions_are_done_in_order),
    CHECK(attributes_take_effect),
    CHECK(threads_spawn_at_the_same_time),
    CHECK(everything_on_a_thread),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
