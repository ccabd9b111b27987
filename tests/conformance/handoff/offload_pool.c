/*
 * The native threads that calls on plain files are made on: a process that forks while they are busy has a child where
 * they work, every call's result and errno is its own, and they end when they have had nothing to do for a while.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { WRITERS = 12, FEW = 3, ROUNDS = 25, FORKS = 6 };

static atomic_int stop;

static void *write_rounds(void *argument)
{
    long i = (long)(intptr_t)argument;
    char name[32], text[16], back[16];
    snprintf(name, sizeof name, "file-%ld", i);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(fd >= 0);
    for (int round = 0; round < ROUNDS && !atomic_load(&stop); round++) {
        int n = snprintf(text, sizeof text, "%ld/%d", i, round);
        errno = EDOM;
        EXPECT_EQ(pwrite(fd, text, (size_t)n, 0), n);
        EXPECT_EQ(pread(fd, back, (size_t)n, 0), n);
        EXPECT_EQ(fsync(fd), 0);
        EXPECT_EQ(errno, EDOM);
        EXPECT(memcmp(text, back, (size_t)n) == 0);
        EXPECT_ERRNO(pread(-1, back, 1, 0), EBADF);
        EXPECT_ERRNO(ftruncate(fd, -1), EINVAL);
    }
    close(fd);
    return argument;
}

static void write_all(void)
{
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        threads[i] = start(write_rounds, (void *)(intptr_t)i);
    }
    for (int i = 0; i < WRITERS; i++) {
        EXPECT(finish(threads[i]) == (void *)(intptr_t)i);
    }
}

static void *fork_meanwhile(void *argument)
{
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            if (chdir("child")) {
                _exit(3);
            }
            write_all();
            fflush(stdout);
            _exit(check_failures ? 9 : 7);
        }
        EXPECT(waitpid(pid, &status, 0) == pid);
        EXPECT_EXITS(status, 7);
    }
    return argument;
}

static void works_in_a_forked_child(void)
{
    EXPECT_EQ(mkdir("child", 0700), 0);
    pthread_t forker = start(fork_meanwhile, NULL);
    write_all();
    finish(forker);
}

/* Natively there are none. */
static int helpers(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof name, f)) {
            n += strcmp(name, "green-offload\n") == 0;
        }
        if (f) {
            fclose(f);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

/* The count itself is made of calls on files, which a few may take in turn. */
static void ends_when_idle(void)
{
    write_all();
    int n = helpers();
    for (int i = 0; i < 10 && n > FEW; i++) {
        sleep_ms(1500);
        n = helpers();
    }
    EXPECT(n <= FEW);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(works_in_a_forked_child),
        CHECK(ends_when_idle),
    };
    return CHECKS_RUN(checks, argc, argv);
}
