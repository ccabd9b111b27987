/* main returns while threads are blocked, run and hold locks: the process ends with main's value, after atexit. */
#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void *block_for_ever(void *argument)
{
    pthread_mutex_lock(&mutex);
    for (;;) {
        pthread_cond_wait(&cond, &mutex);
    }
    return argument;
}

static void *hold_a_lock(void *argument)
{
    static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&held);
    sleep(3600);
    return argument;
}

static void say_goodbye(void)
{
    puts("goodbye");
}

int main(void)
{
    atexit(say_goodbye);
    for (int i = 0; i < 10; i++) {
        start(i % 2 ? block_for_ever : hold_a_lock, NULL);
    }
    let_others_block();
    puts("main returns");
    return 17;
}
