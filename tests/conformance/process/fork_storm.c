/* Eight threads fork, and their children allocate, lock, print and make threads, while others do the same. */
#include "check.h"

#include <sched.h>

enum { FORKERS = 8, FORKS = 12 };

static int stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *allocate_and_lock(void *argument)
{
    void *blocks[20] = { 0 };
    for (int i = 0; !atomic_get(&stop); i++) {
        free(blocks[i % 20]);
        blocks[i % 20] = malloc((size_t)(i * 37 % 5000));
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
        if (i % 16 == 0) {
            sched_yield();
        }
    }
    for (int i = 0; i < 20; i++) {
        free(blocks[i]);
    }
    return argument;
}

static void *add_up(void *argument)
{
    int *sum = argument;
    char *text = malloc(100);
    snprintf(text, 100, "%d", 5);
    sched_yield();
    atomic_add(sum, atoi(text));
    free(text);
    return NULL;
}

static int child_work(int me)
{
    pthread_t threads[3];
    int sum = 0;
    FILE *file = tmpfile();
    for (int i = 0; i < 3; i++) {
        threads[i] = start(add_up, &sum);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    fprintf(file, "%d", sum);
    fclose(file);
    sleep_ms(1);
    return sum == 15 ? me : 100;
}

static void *fork_often(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            int code = child_work(me);
            if (i % 2) {
                exit(code);
            }
            _exit(code);
        }
        EXPECT(pid > 0);
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EXITS(status, me);
    }
    return NULL;
}

static void children_work_whoever_forked_when(void)
{
    pthread_t forkers[FORKERS], others[2];
    atomic_set(&stop, 0);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        others[i] = start(allocate_and_lock, NULL);
    }
    for (intptr_t i = 0; i < FORKERS; i++) {
        forkers[i] = start(fork_often, (void *)(i + 1));
    }
    for (int i = 0; i < FORKERS; i++) {
        finish(forkers[i]);
    }
    atomic_set(&stop, 1);
    for (int i = 0; i < 2; i++) {
        finish(others[i]);
    }
}

static const struct check checks[] = {
    CHECK(children_work_whoever_forked_when),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
