/* Cancellation states and types, calls that are no cancellation points, and what a cancelled thread leaves behind. */
#include "check.h"

#include <semaphore.h>
#include <sys/syscall.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int reached;
static char trace[64];

static void note(void *text)
{
    strcat(trace, text);
}

static void states_and_types_tell_the_old_one(void)
{
    int old = -1;
    EXPECT_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old), 0);
    EXPECT_EQ(old, PTHREAD_CANCEL_ENABLE);
    EXPECT_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old), 0);
    EXPECT_EQ(old, PTHREAD_CANCEL_DISABLE);
    EXPECT_EQ(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL), 0);
    EXPECT_EQ(pthread_setcancelstate(4711, &old), EINVAL);
    EXPECT_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old), 0);
    EXPECT_EQ(old, PTHREAD_CANCEL_DEFERRED);
    EXPECT_EQ(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old), 0);
    EXPECT_EQ(old, PTHREAD_CANCEL_ASYNCHRONOUS);
    EXPECT_EQ(pthread_setcanceltype(4711, &old), EINVAL);
}

static void *ask_states(void *argument)
{
    int *old = argument;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old[0]);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old[1]);
    return NULL;
}

static void new_threads_start_enabled_and_deferred(void)
{
    for (int i = 0; i < 20; i++) {
        int old[2] = { -1, -1 };
        finish(start(ask_states, old));
        EXPECT_EQ(old[0], PTHREAD_CANCEL_ENABLE);
        EXPECT_EQ(old[1], PTHREAD_CANCEL_DEFERRED);
    }
}

static void *sleep_disabled(void *argument)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    atomic_set(&reached, 1);
    EXPECT_EQ(sem_wait(&sem), 0);
    sleep_ms(5);
    pthread_testcancel();
    atomic_set(&reached, 2);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    atomic_set(&reached, 3);
    pthread_testcancel();
    atomic_set(&reached, 4);
    return argument;
}

static void disabled_waits_until_enabled(void)
{
    sem_init(&sem, 0, 0);
    atomic_set(&reached, 0);
    pthread_t thread = start(sleep_disabled, NULL);
    EXPECT(wait_for_value(&reached, 1));
    let_others_block();
    EXPECT_EQ(pthread_cancel(thread), 0);
    EXPECT_EQ(pthread_cancel(thread), 0);
    let_others_block();
    EXPECT_EQ(atomic_get(&reached), 1);
    sem_post(&sem);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reached), 3);
}

static void *return_disabled(void *argument)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    atomic_set(&reached, 1);
    sem_wait(&sem);
    return argument;
}

static void disabled_thread_may_return(void)
{
    sem_init(&sem, 0, 0);
    atomic_set(&reached, 0);
    pthread_t thread = start(return_disabled, trace);
    EXPECT(wait_for_value(&reached, 1));
    pthread_cancel(thread);
    sem_post(&sem);
    EXPECT(finish(thread) == trace);
}

static void *do_nothing(void *argument)
{
    return argument;
}

static void *call_non_points(void *argument)
{
    static pthread_barrier_t barrier;
    static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
    static pthread_spinlock_t spin;
    pthread_t other;
    pthread_cancel(pthread_self());
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    pthread_spin_init(&spin, 0);
    pthread_spin_lock(&spin);
    pthread_spin_unlock(&spin);
    pthread_barrier_init(&barrier, NULL, 1);
    pthread_barrier_wait(&barrier);
    sem_post(&sem);
    sem_trywait(&sem);
    pthread_cond_signal(&cond);
    free(malloc(100));
    pthread_create(&other, NULL, do_nothing, NULL);
    pthread_detach(other);
    sched_yield();
    getpid();
    syscall(SYS_nanosleep, &(struct timespec){ 0, 1000000 }, NULL);
    atomic_set(&reached, 10);
    pthread_testcancel();
    atomic_set(&reached, 11);
    return argument;
}

static void other_calls_are_no_points(void)
{
    sem_init(&sem, 0, 0);
    atomic_set(&reached, 0);
    pthread_t thread = start(call_non_points, NULL);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reached), 10);
}

static void *lock_then_test(void *argument)
{
    atomic_set(&reached, 1);
    pthread_mutex_lock(&mutex);
    atomic_set(&reached, 2);
    pthread_mutex_unlock(&mutex);
    pthread_testcancel();
    atomic_set(&reached, 3);
    return argument;
}

static void blocked_mutex_lock_is_not_cancelled(void)
{
    atomic_set(&reached, 0);
    pthread_mutex_lock(&mutex);
    pthread_t thread = start(lock_then_test, NULL);
    EXPECT(wait_for_value(&reached, 1));
    let_others_block();
    pthread_cancel(thread);
    let_others_block();
    EXPECT_EQ(atomic_get(&reached), 1);
    EXPECT_EQ(pthread_tryjoin_np(thread, NULL), EBUSY);
    pthread_mutex_unlock(&mutex);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reached), 2);
}

static pthread_barrier_t barrier;

static void *meet_then_test(void *argument)
{
    atomic_set(&reached, 1);
    pthread_barrier_wait(&barrier);
    atomic_set(&reached, 2);
    pthread_testcancel();
    atomic_set(&reached, 3);
    return argument;
}

static void blocked_barrier_wait_is_not_cancelled(void)
{
    pthread_barrier_init(&barrier, NULL, 2);
    atomic_set(&reached, 0);
    pthread_t thread = start(meet_then_test, NULL);
    EXPECT(wait_for_value(&reached, 1));
    let_others_block();
    pthread_cancel(thread);
    let_others_block();
    EXPECT_EQ(atomic_get(&reached), 1);
    pthread_barrier_wait(&barrier);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(atomic_get(&reached), 2);
    EXPECT_EQ(pthread_barrier_destroy(&barrier), 0);
}

static void *sleep_long(void *argument)
{
    sleep(3600);
    return argument;
}

static void cancelled_right_after_create(void)
{
    for (int i = 0; i < 300; i++) {
        pthread_t thread = start(sleep_long, NULL);
        EXPECT_EQ(pthread_cancel(thread), 0);
        EXPECT(finish(thread) == PTHREAD_CANCELED);
    }
}

static void *return_at_once(void *argument)
{
    atomic_set(&reached, 1);
    return argument;
}

static void finished_thread_keeps_its_value(void)
{
    atomic_set(&reached, 0);
    pthread_t thread = start(return_at_once, &reached);
    EXPECT(wait_for_value(&reached, 1));
    let_others_block();
    pthread_cancel(thread);
    EXPECT(finish(thread) == &reached);
}

static void sleep_in_cleanup(void *argument)
{
    sleep_ms(20);
    pthread_testcancel();
    note(argument);
}

static void *sleep_with_handlers(void *argument)
{
    pthread_cleanup_push(note, "1");
    pthread_cleanup_push(sleep_in_cleanup, "2");
    pthread_cleanup_push(note, "3");
    atomic_set(&reached, 1);
    sleep(3600);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return argument;
}

static void handlers_run_in_order_and_uncancelled(void)
{
    trace[0] = 0;
    atomic_set(&reached, 0);
    pthread_t thread = start(sleep_with_handlers, NULL);
    EXPECT(wait_for_value(&reached, 1));
    pthread_cancel(thread);
    sleep_ms(2);
    pthread_cancel(thread);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "321") == 0);
}

static pthread_key_t key;

static void *sleep_with_key(void *argument)
{
    pthread_setspecific(key, "k");
    pthread_cleanup_push(note, "c");
    atomic_set(&reached, 1);
    sleep(3600);
    pthread_cleanup_pop(0);
    return argument;
}

static void keys_are_destroyed_after_cancellation(void)
{
    EXPECT_EQ(pthread_key_create(&key, note), 0);
    trace[0] = 0;
    atomic_set(&reached, 0);
    pthread_t thread = start(sleep_with_key, NULL);
    EXPECT(wait_for_value(&reached, 1));
    pthread_cancel(thread);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "ck") == 0);
    pthread_key_delete(key);
}

static pthread_mutex_t checked;
static int waiting, woken;

static void unlock_checked(void *argument)
{
    (void)argument;
    EXPECT_EQ(pthread_mutex_unlock(&checked), 0);
}

static void *wait_on_cond(void *argument)
{
    pthread_mutex_lock(&checked);
    pthread_cleanup_push(unlock_checked, NULL);
    waiting++;
    pthread_cond_wait(&cond, &checked);
    atomic_add(&woken, 1);
    pthread_cleanup_pop(1);
    return argument;
}

static void cancelled_waiter_owns_the_mutex_in_cleanup(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attr);
    waiting = 0;
    pthread_t thread = start(wait_on_cond, NULL);
    for (int entered = 0; !entered; sched_yield()) {
        pthread_mutex_lock(&checked);
        entered = waiting;
        pthread_mutex_unlock(&checked);
    }
    pthread_mutex_lock(&checked);
    pthread_cancel(thread);
    let_others_block();
    EXPECT_EQ(pthread_tryjoin_np(thread, NULL), EBUSY);
    EXPECT_EQ(pthread_mutex_unlock(&checked), 0);
    EXPECT(finish(thread) == PTHREAD_CANCELED);
    EXPECT_EQ(pthread_mutex_lock(&checked), 0);
    EXPECT_EQ(pthread_mutex_unlock(&checked), 0);
}

static void cancelled_waiter_passes_its_signal_on(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t threads[2];
        waiting = woken = 0;
        threads[0] = start(wait_on_cond, trace);
        threads[1] = start(wait_on_cond, trace);
        for (int entered = 0; entered < 2; sched_yield()) {
            pthread_mutex_lock(&checked);
            entered = waiting;
            pthread_mutex_unlock(&checked);
        }
        pthread_mutex_lock(&checked);
        if (i % 2) {
            pthread_cancel(threads[0]);
        }
        pthread_cond_signal(&cond);
        if (i % 2 == 0) {
            pthread_cancel(threads[0]);
        }
        pthread_mutex_unlock(&checked);
        void *value = finish(threads[0]);
        EXPECT(value == trace || value == PTHREAD_CANCELED);
        if (value == PTHREAD_CANCELED) {
            EXPECT(wait_for_value(&woken, 1));
        } else {
            pthread_mutex_lock(&checked);
            pthread_cond_broadcast(&cond);
            pthread_mutex_unlock(&checked);
        }
        finish(threads[1]);
    }
}

static void *wait_on_sem(void *argument)
{
    atomic_set(&reached, 1);
    while (sem_wait(&sem) == -1) {
    }
    return argument;
}

static void cancelled_sem_wait_takes_no_token(void)
{
    for (int i = 0; i < 200; i++) {
        int value = -1;
        sem_init(&sem, 0, 0);
        atomic_set(&reached, 0);
        pthread_t thread = start(wait_on_sem, trace);
        if (i % 3 == 0) {
            EXPECT(wait_for_value(&reached, 1));
        }
        sem_post(&sem);
        pthread_cancel(thread);
        void *result = finish(thread);
        EXPECT(result == trace || result == PTHREAD_CANCELED);
        EXPECT_EQ(sem_getvalue(&sem, &value), 0);
        EXPECT_EQ(value, result == PTHREAD_CANCELED ? 1 : 0);
    }
}

static void *join_other(void *argument)
{
    pthread_join(*(pthread_t *)argument, NULL);
    return NULL;
}

static void cancelled_joiner_leaves_the_thread_joinable(void)
{
    sem_init(&sem, 0, 0);
    pthread_t thread = start(wait_on_sem, trace);
    pthread_t joiner = start(join_other, &thread);
    let_others_block();
    pthread_cancel(joiner);
    EXPECT(finish(joiner) == PTHREAD_CANCELED);
    sem_post(&sem);
    EXPECT(finish(thread) == trace);
}

static void *cancel_itself(void *argument)
{
    pthread_cleanup_push(note, "s");
    pthread_cancel(pthread_self());
    note("n");
    pthread_testcancel();
    note("x");
    pthread_cleanup_pop(0);
    return argument;
}

static void thread_cancels_itself(void)
{
    trace[0] = 0;
    EXPECT(finish(start(cancel_itself, NULL)) == PTHREAD_CANCELED);
    EXPECT(strcmp(trace, "ns") == 0);
}

static const struct check checks[] = {
    CHECK(states_and_types_tell_the_old_one),
    CHECK(new_threads_start_enabled_and_deferred),
    CHECK(disabled_waits_until_enabled),
    CHECK(disabled_thread_may_return),
    CHECK(other_calls_are_no_points),
    CHECK(blocked_mutex_lock_is_not_cancelled),
    CHECK(blocked_barrier_wait_is_not_cancelled),
    CHECK(cancelled_right_after_create),
    CHECK(finished_thread_keeps_its_value),
    CHECK(handlers_run_in_order_and_uncancelled),
    CHECK(keys_are_destroyed_after_cancellation),
    CHECK(cancelled_waiter_owns_the_mutex_in_cleanup),
    CHECK(cancelled_waiter_passes_its_signal_on),
    CHECK(cancelled_sem_wait_takes_no_token),
    CHECK(cancelled_joiner_leaves_the_thread_joinable),
    CHECK(thread_cancels_itself),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
