/* A program with a leak checker in it ends while threads wait: what they hold has not leaked, on their
 * stacks, in their thread-local data and under their keys; what nobody holds has. */
#include "check.h"


enum { THREADS = 12 };

static __thread void *volatile local;
static pthread_key_t key;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int waiting;

static void *hold(void *argument)
{
    void *volatile mine = malloc(100);
    local = malloc(200);
    EXPECT_EQ(pthread_setspecific(key, malloc(300)), 0);
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_broadcast(&cond);
    while (waiting <= THREADS)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    free(mine);
    return argument;
}

static void hold_all(void)
{
    EXPECT_EQ(pthread_key_create(&key, free), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread = start(hold, NULL);
        EXPECT_EQ(pthread_detach(thread), 0);
    }
    pthread_mutex_lock(&mutex);
    while (waiting < THREADS)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
}

static int end_while_they_wait(void)
{
    hold_all();
    exit(check_failures ? 2 : 22); /* the checker says 1 */
}

static void *exit_here(void *argument)
{
    void *volatile mine = malloc(400);
    exit(check_failures || !mine ? 2 : 22);
    return argument;
}

static int end_on_another_thread(void)
{
    hold_all();
    finish(start(exit_here, NULL));
    return 2;
}

static void *lose(void *argument)
{
    void *volatile lost = malloc(500);
    lost = NULL;
    return lost ? lost : argument;
}

static int leak(void)
{
    close(2); /* the report has addresses in it */
    hold_all();
    for (int i = 0; i < 3; i++)
        finish(start(lose, NULL));
    exit(check_failures ? 2 : 22);
}

static void what_waiting_threads_hold_is_no_leak(void)
{
    EXPECT_EXITS(child_run(end_while_they_wait), 22);
}

static void nor_when_one_of_them_ends_the_process(void)
{
    EXPECT_EXITS(child_run(end_on_another_thread), 22);
}

static void what_nobody_holds_is(void)
{
    EXPECT_EXITS(child_run(leak), 1);
}

static const struct check checks[] = {
    CHECK(what_waiting_threads_hold_is_no_leak),
    CHECK(nor_when_one_of_them_ends_the_process),
    CHECK(what_nobody_holds_is),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
