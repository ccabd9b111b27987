/*
 * A hundred thousand threads, all of them blocked at the same moment: on a condition, a semaphore, a mutex and a
 * barrier. The kernel refuses that many, so there is no native run to compare with.
 */
#include "check.h"

#include <semaphore.h>

enum { THREADS = 100000, KINDS = 4 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t sem;
static int arrived, open_now;
static __thread long own;

static void *block(void *argument)
{
    long me = (long)(intptr_t)argument;
    own = me;
    atomic_add(&arrived, 1);
    switch (me % KINDS) {
    case 0:
        pthread_mutex_lock(&mutex);
        while (!open_now) {
            pthread_cond_wait(&opened, &mutex);
        }
        pthread_mutex_unlock(&mutex);
        break;
    case 1:
        while (sem_wait(&sem) != 0) {
        }
        break;
    case 2:
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
        break;
    default:
        pthread_barrier_wait(&barrier);
    }
    return (void *)(intptr_t)(own == me ? me : -1);
}

int main(void)
{
    static pthread_t threads[THREADS];
    pthread_attr_t attr;
    long sum = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    sem_init(&sem, 0, 0);
    pthread_barrier_init(&barrier, NULL, THREADS / KINDS + 1);
    pthread_mutex_lock(&gate);
    for (long i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], &attr, block, (void *)i);
        if (error != 0) {
            printf("thread %ld: %s\n", i, strerror(error));
            return 1;
        }
    }
    printf("created %d\n", THREADS);
    while (atomic_get(&arrived) < THREADS) {
        sleep_ms(1);
    }
    printf("all blocked\n");
    pthread_mutex_lock(&mutex);
    open_now = 1;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < THREADS / KINDS; i++) {
        sem_post(&sem);
    }
    pthread_mutex_unlock(&gate);
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < THREADS; i++) {
        void *value = NULL;
        if (pthread_join(threads[i], &value) != 0 || value != (void *)i) {
            printf("thread %ld returned %ld\n", i, (long)(intptr_t)value);
            return 1;
        }
        sum += i;
    }
    printf("joined, sum %ld\n", sum);
    return 0;
}
