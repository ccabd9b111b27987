/* exec after fork and vfork, and exec that replaces a program with live threads. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>

static char self[4096];
static int ticks, stop;

static void *tick(void *argument)
{
    while (!atomic_get(&stop)) {
        atomic_add(&ticks, 1);
        sleep_ms(1);
    }
    return argument;
}

static int wait_for(pid_t pid)
{
    int status = -1;
    EXPECT(pid > 0);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void *fork_exec_shell(void *argument)
{
    char command[64];
    int code = (int)(intptr_t)argument;
    snprintf(command, sizeof command, "exit %d", code);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
            _exit(127);
        }
        EXPECT_EXITS(wait_for(pid), code);
    }
    return NULL;
}

static void *vfork_exec_shell(void *argument)
{
    char command[64];
    int code = (int)(intptr_t)argument;
    snprintf(command, sizeof command, "exit %d", code);
    for (int i = 0; i < 3; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
            _exit(127);
        }
        EXPECT_EXITS(wait_for(pid), code);
    }
    return NULL;
}

static void *vfork_exit(void *argument)
{
    volatile int touched = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        touched = 1;
        _exit((int)(intptr_t)argument);
    }
    EXPECT_EQ(touched, 1);
    EXPECT_EXITS(wait_for(pid), (intptr_t)argument);
    return NULL;
}

static void from_everywhere(void *(*function)(void *))
{
    pthread_t threads[6];
    function((void *)3);
    for (intptr_t i = 0; i < 6; i++) {
        threads[i] = start(function, (void *)(i + 20));
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
}

static void fork_and_exec(void)
{
    from_everywhere(fork_exec_shell);
}

static void vfork_and_exec(void)
{
    from_everywhere(vfork_exec_shell);
}

static void vfork_and_exit(void)
{
    from_everywhere(vfork_exit);
}

static void failing_exec_tells_why(void)
{
    char *arguments[] = { "nothing", NULL };
    EXPECT_ERRNO(execv("/no/such/program", arguments), ENOENT);
    EXPECT_ERRNO(execv("/etc/passwd", arguments), EACCES);
    EXPECT_ERRNO(execvp("no-such-program-anywhere", arguments), ENOENT);
    EXPECT_ERRNO(execl("/", "dir", (char *)NULL), EACCES);
    int fd = open("not-a-program", O_CREAT | O_WRONLY, 0700);
    EXPECT_EQ(write(fd, "\x7f" "ELF nonsense", 13), 13);
    close(fd);
    EXPECT_ERRNO(execv("./not-a-program", arguments), ENOEXEC);
}

static void *fail_to_exec(void *argument)
{
    failing_exec_tells_why();
    return argument;
}

static void failing_exec_on_a_thread(void)
{
    finish(start(fail_to_exec, NULL));
    atomic_set(&stop, 0);
    pthread_t other = start(tick, NULL);
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/no/such/program", "x", (char *)NULL);
        _exit(errno == ENOENT ? 9 : 10);
    }
    EXPECT_EXITS(wait_for(pid), 9);
    atomic_set(&stop, 1);
    finish(other);
}

/* What the program does when it was started again by itself: threads work there. */
static int again(int argc, char **argv)
{
    int count = 0;
    for (int i = 0; i < 10; i++) {
        pthread_t thread = start(tick, NULL);
        atomic_set(&stop, 1);
        finish(thread);
        count++;
    }
    const char *value = getenv("CONFORMANCE");
    printf("again with %d arguments, last %s, variable %s, %d threads\n", argc - 1, argv[argc - 1],
           value ? value : "unset", count);
    return fcntl(200, F_GETFD) == -1 && fcntl(201, F_GETFD) == 0 ? 51 : 52;
}

static int exec_self(void)
{
    pthread_detach(start(tick, NULL));
    dup2(0, 201);
    dup3(0, 200, O_CLOEXEC);
    setenv("CONFORMANCE", "kept", 1);
    execl(self, self, "again", "one", (char *)NULL);
    return 1;
}

static void *exec_self_in_thread(void *argument)
{
    exec_self();
    return argument;
}

static int exec_from_a_thread(void)
{
    finish(start(exec_self_in_thread, NULL));
    return 1;
}

static int exec_with_environment(void)
{
    char *arguments[] = { self, "again", "two", NULL }, *environment[] = { "CONFORMANCE=given", NULL };
    dup2(0, 201);
    close(200);
    execve(self, arguments, environment);
    return 1;
}

static int exec_by_descriptor(void)
{
    char *arguments[] = { self, "again", "three", NULL };
    dup2(0, 201);
    close(200);
    extern char **environ;
    fexecve(open(self, O_RDONLY | O_CLOEXEC), arguments, environ);
    return 1;
}

static void program_replaces_itself(void)
{
    unsetenv("CONFORMANCE");
    EXPECT_EXITS(child_run(exec_self), 51);
    EXPECT_EXITS(child_run(exec_from_a_thread), 51);
    EXPECT_EXITS(child_run(exec_with_environment), 51);
    EXPECT_EXITS(child_run(exec_by_descriptor), 51);
}

static int exec_with_mask_and_disposition(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR2, SIG_IGN);
    execl("/bin/sh", "sh", "-c",
          "grep -E '^Sig(Blk|Ign)' /proc/self/status | while read name value; do "
          "echo $name ${value#????????}; done",
          (char *)NULL);
    return 1;
}

static void mask_and_ignored_signals_pass_on(void)
{
    EXPECT_EXITS(child_run(exec_with_mask_and_disposition), 0);
}

static void vfork_exec_sleep(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/sleep", "sleep", "0.1", (char *)NULL);
        _exit(127);
    }
    EXPECT_EXITS(wait_for(pid), 0);
}

static void others_run_while_a_vfork_child_s_program_runs(void)
{
    atomic_set(&stop, 0);
    atomic_set(&ticks, 0);
    pthread_t other = start(tick, NULL);
    for (int i = 0; i < 20 && atomic_get(&ticks) <= 3; i++) { /* a busy machine may keep the ticks back */
        atomic_set(&ticks, 0);
        vfork_exec_sleep();
    }
    EXPECT(atomic_get(&ticks) > 3);
    atomic_set(&stop, 1);
    finish(other);
}

static const struct check checks[] = {
    CHECK(fork_and_exec),
    CHECK(vfork_and_exec),
    CHECK(vfork_and_exit),
    CHECK(failing_exec_tells_why),
    CHECK(failing_exec_on_a_thread),
    CHECK(program_replaces_itself),
    CHECK(mask_and_ignored_signals_pass_on),
    CHECK(others_run_while_a_vfork_child_s_program_runs),
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        return again(argc, argv);
    }
    EXPECT(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    return CHECKS_RUN(checks, argc, argv);
}
