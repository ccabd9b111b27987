/* system, popen and pclose: statuses, data both ways, and other threads that go on meanwhile. */
#include "check.h"

#include <signal.h>

static int ticks, stop;

static void *tick(void *argument)
{
    while (!atomic_get(&stop)) {
        atomic_add(&ticks, 1);
        sleep_ms(1);
    }
    return argument;
}

static void system_returns_the_status(void)
{
    EXPECT(system(NULL) != 0);
    EXPECT_EXITS(system("exit 0"), 0);
    EXPECT_EXITS(system("exit 9"), 9);
    EXPECT_EXITS(system("no-such-command-anywhere 2>/dev/null"), 127);
    EXPECT_KILLED(system("kill -KILL $$"), SIGKILL);
}

static void system_restores_signals(void)
{
    struct sigaction before, after;
    sigset_t mask_before, mask_after;
    sigaction(SIGINT, NULL, &before);
    sigprocmask(SIG_SETMASK, NULL, &mask_before);
    EXPECT_EXITS(system("kill -INT $PPID; exit 2"), 2);
    sigaction(SIGINT, NULL, &after);
    sigprocmask(SIG_SETMASK, NULL, &mask_after);
    EXPECT(before.sa_handler == after.sa_handler);
    EXPECT_EQ(sigismember(&mask_before, SIGCHLD), sigismember(&mask_after, SIGCHLD));
    EXPECT_ERRNO(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static void *system_often(void *argument)
{
    char command[64];
    int me = (int)(intptr_t)argument;
    snprintf(command, sizeof command, "exit %d", me);
    for (int i = 0; i < 5; i++) {
        EXPECT_EXITS(system(command), me);
    }
    return NULL;
}

static void threads_use_system_at_the_same_time(void)
{
    pthread_t threads[6];
    for (intptr_t i = 0; i < 6; i++) {
        threads[i] = start(system_often, (void *)(i + 10));
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
}

static void popen_reads(void)
{
    char line[64];
    FILE *stream = popen("echo one; echo two; exit 3", "r");
    EXPECT(stream != NULL);
    EXPECT(fgets(line, sizeof line, stream) && strcmp(line, "one\n") == 0);
    EXPECT(fgets(line, sizeof line, stream) && strcmp(line, "two\n") == 0);
    EXPECT(fgets(line, sizeof line, stream) == NULL && feof(stream));
    EXPECT_EXITS(pclose(stream), 3);
}

static void popen_writes(void)
{
    char line[64] = "";
    FILE *stream = popen("read a; read b; echo $b $a > written", "we");
    EXPECT(stream != NULL);
    EXPECT(fprintf(stream, "first\nsecond\n") > 0);
    EXPECT_EXITS(pclose(stream), 0);
    stream = fopen("written", "r");
    EXPECT(stream && fgets(line, sizeof line, stream) && strcmp(line, "second first\n") == 0);
    fclose(stream);
    EXPECT(popen("true", "x") == NULL && errno == EINVAL);
}

static void *popen_large(void *argument)
{
    char buffer[4096], command[100];
    size_t total = 0, got;
    int me = (int)(intptr_t)argument;
    snprintf(command, sizeof command, "head -c %d /dev/zero; exit %d", 300000 + me, me);
    FILE *stream = popen(command, "r");
    EXPECT(stream != NULL);
    while ((got = fread(buffer, 1, sizeof buffer, stream)) > 0) {
        total += got;
    }
    EXPECT_EQ(total, 300000 + me);
    EXPECT_EXITS(pclose(stream), me);
    return NULL;
}

static void threads_use_popen_at_the_same_time(void)
{
    pthread_t threads[6];
    for (intptr_t i = 0; i < 6; i++) {
        threads[i] = start(popen_large, (void *)(i + 1));
    }
    for (int i = 0; i < 6; i++) {
        finish(threads[i]);
    }
}

static void wait_in_system(void)
{
    EXPECT_EXITS(system("sleep 0.1"), 0);
}

static void wait_in_fgets(void)
{
    char line[64];
    FILE *stream = popen("sleep 0.1; echo late", "r");
    EXPECT(fgets(line, sizeof line, stream) && strcmp(line, "late\n") == 0);
    pclose(stream);
}

static void wait_in_pclose(void)
{
    FILE *stream = popen("sleep 0.1", "w");
    EXPECT_EXITS(pclose(stream), 0);
}

/* A busy machine may keep the ticks back now and then. */
static int others_run_during(void (*wait)(void))
{
    for (int i = 0; i < 20; i++) {
        int before = atomic_get(&ticks);
        wait();
        if (atomic_get(&ticks) > before + 3) {
            return 1;
        }
    }
    return 0;
}

static void others_run_meanwhile(void)
{
    atomic_set(&stop, 0);
    atomic_set(&ticks, 0);
    pthread_t other = start(tick, NULL);
    EXPECT(others_run_during(wait_in_system));
    EXPECT(others_run_during(wait_in_fgets));
    EXPECT(others_run_during(wait_in_pclose));
    atomic_set(&stop, 1);
    finish(other);
}

static void *everything(void *argument)
{
    system_returns_the_status();
    system_restores_signals();
    popen_reads();
    popen_writes();
    return argument;
}

static void everything_on_a_thread(void)
{
    finish(start(everything, NULL));
}

static const struct check checks[] = {
    CHECK(system_returns_the_status),
    CHECK(system_restores_signals),
    CHECK(threads_use_system_at_the_same_time),
    CHECK(popen_reads),
    CHECK(popen_writes),
    CHECK(threads_use_popen_at_the_same_time),
    CHECK(others_run_meanwhile),
    CHECK(everything_on_a_thread),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
