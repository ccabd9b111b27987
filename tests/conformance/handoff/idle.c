/*
 * A process whose threads all wait makes no wake-ups at all, and after a burst of calls that block it has no more OS
 * threads than before, but for a few spares. Watched from a child that was made before the first thread.
 */
#include "check.h"

#include <dirent.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum { WAITERS = 40, BURST = 24, SPARES = 4 };

/* The sum of the context switches of all OS threads of a process; *tasks (may be NULL) gets their number. */
static long switches_of(pid_t pid, int *tasks)
{
    char path[300], line[128];
    long sum = 0;
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] == '.') {
            continue;
        }
        n++;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, e->d_name);
        FILE *status = fopen(path, "re");
        while (status && fgets(line, sizeof line, status)) {
            long value;
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &value) == 1) {
                sum += value;
            }
        }
        if (status) {
            fclose(status);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (tasks) {
        *tasks = n;
    }
    return sum;
}

/* Does the process come to rest for a second and a half, within 15? */
static int comes_to_rest(pid_t pid)
{
    long before = switches_of(pid, NULL);
    for (int quiet = 0, tries = 0; tries < 150; tries++) {
        sleep_ms(100);
        long now = switches_of(pid, NULL);
        quiet = now == before ? quiet + 1 : 0;
        if (quiet == 15) {
            return 1;
        }
        before = now;
    }
    return 0;
}

static int tasks_fall_to(pid_t pid, int most)
{
    for (int tries = 0; tries < 150; tries++) {
        int tasks;
        switches_of(pid, &tasks);
        if (tasks <= most) {
            return 1;
        }
        sleep_ms(100);
    }
    return 0;
}

/* ---- What is watched ---- */

static int fds[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *wait_for_data(void *argument)
{
    char byte;
    while (read(fds[0], &byte, 1) == 1) {
    }
    return argument;
}

static void *wait_for_condition(void *argument)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        pthread_cond_wait(&never, &lock);
    }
    return argument;
}

static void *sleep_for_long(void *argument)
{
    for (;;) {
        sleep(1000);
    }
    return argument;
}

static void *block_in_the_kernel(void *argument)
{
#if defined(__x86_64__)
    struct timespec t = { 0, 50000000 };
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
#else
    sleep_ms(50);
#endif
    return argument;
}

static void wait_in_all_ways(void)
{
    static void *(*const ways[])(void *) = { wait_for_data, wait_for_condition, sleep_for_long };
    if (pipe(fds)) {
        exit(3);
    }
    for (int i = 0; i < WAITERS; i++) {
        start(ways[i % 3], NULL);
    }
}

static void burst(void)
{
    pthread_t threads[BURST];
    for (int i = 0; i < BURST; i++) {
        threads[i] = start(block_in_the_kernel, NULL);
    }
    for (int i = 0; i < BURST; i++) {
        finish(threads[i]);
    }
}

static int go[2], done[2];

/* The watched process: does one thing for each byte that comes, and answers. */
static int watched(void)
{
    char byte;
    wait_in_all_ways();
    while (read(go[0], &byte, 1) == 1) {
        if (byte == 'b') {
            burst();
        }
        if (write(done[1], &byte, 1) != 1) {
            return 3;
        }
    }
    _exit(0);
}

static void tell(char what)
{
    EXPECT_EQ(write(go[1], &what, 1), 1);
    EXPECT_EQ(read(done[0], &what, 1), 1);
}

static void idle_process_sleeps(void)
{
    EXPECT_EQ(pipe(go), 0);
    EXPECT_EQ(pipe(done), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        _exit(watched());
    }
    close(go[0]);
    int before, status;
    tell('a');
    EXPECT(comes_to_rest(pid));
    switches_of(pid, &before);
    for (int round = 0; round < 2; round++) {
        tell('b');
        EXPECT(tasks_fall_to(pid, before + SPARES));
        EXPECT(comes_to_rest(pid));
    }
    close(go[1]);
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_EXITS(status, 0);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = { CHECK(idle_process_sleeps) };
    return CHECKS_RUN(checks, argc, argv);
}
