/*
 * A thread computes for a while with nobody else who could run; then something wakes another one, in each way there
 * is, while the first goes on computing. The other runs all the same.
 */
#include "check.h"

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/syscall.h>

enum { ALONE_MS = 60, LATER_MS = 120, PATIENCE_MS = 10000 };

static sem_t posted;
static int ends[2];
static char path[] = "/tmp/alone-XXXXXX";
static atomic_bool ran;

/* No call that the runtime could use to switch, and the flag is looked at rarely. */
static void compute_until(int64_t end)
{
    volatile unsigned long x = 1;
    do {
        for (int i = 0; i < 100000; i++) {
            x = x * 6364136223846793005UL + 1;
        }
    } while (!atomic_load(&ran) && now_ns(CLOCK_MONOTONIC) < end);
}

static void compute_alone(void)
{
    compute_until(now_ns(CLOCK_MONOTONIC) + ALONE_MS * INT64_C(1000000));
}

static void compute_until_it_ran(pthread_t other)
{
    compute_until(now_ns(CLOCK_MONOTONIC) + PATIENCE_MS * INT64_C(1000000));
    EXPECT(atomic_load(&ran));
    finish(other);
    atomic_store(&ran, false);
}

static pthread_t other_waits(void *(*wait)(void *))
{
    pthread_t other = start(wait, NULL);
    sleep_ms(10); /* until it does */
    return other;
}

/* ---- By the one that computes ---- */

static void *wait_for_post(void *argument)
{
    EXPECT_EQ(sem_wait(&posted), 0);
    atomic_store(&ran, true);
    return argument;
}

static void it_posts(void)
{
    pthread_t other = other_waits(wait_for_post);
    compute_alone();
    sem_post(&posted);
    compute_until_it_ran(other);
}

static void *run_at_once(void *argument)
{
    atomic_store(&ran, true);
    return argument;
}

static void it_makes_a_thread(void)
{
    compute_alone();
    compute_until_it_ran(start(run_at_once, NULL));
}

/* ---- By the clock ---- */

static void *sleep_a_while(void *argument)
{
    sleep_ms(LATER_MS);
    atomic_store(&ran, true);
    return argument;
}

static void time_passes(void)
{
    pthread_t other = other_waits(sleep_a_while);
    compute_alone();
    compute_until_it_ran(other);
}

/* ---- By another OS thread, another process, a signal ---- */

/* Robust process-shared locks and the like bind a thread to its OS thread; so does its I/O priority. */
static void *post_from_an_os_thread(void *argument)
{
    enum { WHO_PROCESS = 1, BEST_EFFORT = 2 << 13 };
    struct timespec later = { 0, LATER_MS * 1000000 };
    EXPECT_EQ(syscall(SYS_ioprio_set, WHO_PROCESS, 0, BEST_EFFORT | 4), 0);
    nanosleep(&later, NULL);
    sem_post(&posted);
    return argument;
}

static void an_os_thread_posts(void)
{
    pthread_t bound = start(post_from_an_os_thread, NULL);
    pthread_t other = other_waits(wait_for_post);
    compute_alone();
    compute_until_it_ran(other);
    finish(bound);
}

/* A child that does it in LATER_MS. */
static pid_t child_does(void (*what)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        sleep_ms(LATER_MS);
        what();
        _exit(5);
    }
    return pid;
}

static void child_ends(pid_t pid)
{
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EXITS(status, 5);
}

static void *wait_for_a_byte(void *argument)
{
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    atomic_store(&ran, true);
    return argument;
}

static void write_a_byte(void)
{
    if (write(ends[1], "x", 1) != 1) {
        _exit(6);
    }
}

static void a_process_writes(void)
{
    EXPECT_EQ(pipe(ends), 0);
    pid_t pid = child_does(write_a_byte);
    pthread_t other = other_waits(wait_for_a_byte);
    compute_alone();
    compute_until_it_ran(other);
    child_ends(pid);
    close(ends[0]);
    close(ends[1]);
}

static void *wait_for_a_signal(void *argument)
{
    sigset_t set;
    int signal = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_EQ(sigwait(&set, &signal), 0);
    EXPECT_EQ(signal, SIGUSR1);
    atomic_store(&ran, true);
    return argument;
}

static void send_a_signal(void)
{
    kill(getppid(), SIGUSR1);
}

static void a_process_sends_a_signal(void)
{
    pid_t pid = child_does(send_a_signal);
    pthread_t other = other_waits(wait_for_a_signal);
    compute_alone();
    compute_until_it_ran(other);
    child_ends(pid);
}

/* ---- By a call that blocks and ends ---- */

static void *wait_for_the_file(void *argument)
{
    int fd = open(path, O_RDWR);
    EXPECT(fd >= 0);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    atomic_store(&ran, true);
    close(fd);
    return argument;
}

static void a_process_unlocks_a_file(void)
{
    char byte;
    int fd = mkstemp(path);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT_EQ(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fd = open(path, O_RDWR);
        if (flock(fd, LOCK_EX)) {
            _exit(6);
        }
        write_a_byte();
        sleep_ms(LATER_MS);
        _exit(5);
    }
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    pthread_t other = other_waits(wait_for_the_file);
    compute_alone();
    compute_until_it_ran(other);
    child_ends(pid);
    unlink(path);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(it_posts),         CHECK(it_makes_a_thread),        CHECK(time_passes),
        CHECK(an_os_thread_posts), CHECK(a_process_writes),       CHECK(a_process_sends_a_signal),
        CHECK(a_process_unlocks_a_file),
    };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sem_init(&posted, 0, 0);
    return CHECKS_RUN(checks, argc, argv);
}
