/* No wake is lost between processors: pairs of threads that signal and wait as fast as they can, while others take and
 * give the lock that both hold. */
#include "check.h"

struct pair {
    pthread_rwlock_t lock;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int over;
    long turns;
};

enum { PAIRS = 2, LOCKERS = 2, SECONDS = 2 };
static struct pair pairs[PAIRS];
static int ending;

static void *signal_again_and_again(void *argument)
{
    struct pair *pair = argument;
    int over = 0;
    while (!over) {
        pthread_rwlock_rdlock(&pair->lock);
        over = atomic_get(&ending);
        pthread_mutex_lock(&pair->mutex);
        pair->over = over;
        pthread_cond_signal(&pair->cond);
        pthread_mutex_unlock(&pair->mutex);
        pthread_rwlock_unlock(&pair->lock);
    }
    return NULL;
}

static void *wait_again_and_again(void *argument)
{
    struct pair *pair = argument;
    int over = 0;
    while (!over) {
        pthread_rwlock_rdlock(&pair->lock);
        pthread_mutex_lock(&pair->mutex);
        if (!pair->over) {
            pthread_cond_wait(&pair->cond, &pair->mutex);
        }
        pair->turns++;
        over = pair->over;
        pthread_mutex_unlock(&pair->mutex);
        pthread_rwlock_unlock(&pair->lock);
    }
    return NULL;
}

static void *lock_again_and_again(void *argument)
{
    struct pair *pair = argument;
    while (!atomic_get(&ending)) {
        pthread_rwlock_wrlock(&pair->lock);
        pthread_rwlock_unlock(&pair->lock);
    }
    return NULL;
}

/* A thread that is never woken again keeps the process's minute. */
static void everybody_comes_to_the_end(void)
{
    pthread_t threads[PAIRS][2 + LOCKERS];
    for (int i = 0; i < PAIRS; i++) {
        struct pair *pair = &pairs[i];
        pthread_rwlock_init(&pair->lock, NULL);
        pthread_mutex_init(&pair->mutex, NULL);
        pthread_cond_init(&pair->cond, NULL);
        threads[i][0] = start(wait_again_and_again, pair);
        threads[i][1] = start(signal_again_and_again, pair);
        for (int k = 0; k < LOCKERS; k++) {
            threads[i][2 + k] = start(lock_again_and_again, pair);
        }
    }
    sleep_ms(SECONDS * 1000);
    atomic_set(&ending, 1);
    for (int i = 0; i < PAIRS; i++) {
        for (int k = 0; k < 2 + LOCKERS; k++) {
            finish(threads[i][k]);
        }
        EXPECT(pairs[i].turns > 0);
    }
}

static const struct check checks[] = {
    CHECK(everybody_comes_to_the_end),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
