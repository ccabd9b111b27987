/* Condition variables: who is woken, deadlines on both clocks, the mutex on return, destruction. */
#include "check.h"

#include <sched.h>
#include <signal.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int waiting, woken, permits;

static void *wait_for_permit(void *argument)
{
    pthread_mutex_lock(&mutex);
    waiting++;
    while (permits == 0) {
        EXPECT_EQ(pthread_cond_wait(&cond, &mutex), 0);
        woken++;
    }
    permits--;
    waiting--;
    pthread_mutex_unlock(&mutex);
    return argument;
}

/* All of them have entered the wait: they gave up the mutex after they counted themselves. */
static void until_waiting(int count)
{
    for (int entered = -1; entered != count; sched_yield()) {
        pthread_mutex_lock(&mutex);
        entered = waiting;
        pthread_mutex_unlock(&mutex);
    }
}

static void signal_wakes_exactly_one(void)
{
    enum { WAITERS = 8 };
    pthread_t threads[WAITERS];
    waiting = woken = permits = 0;
    for (int i = 0; i < WAITERS; i++) {
        threads[i] = start(wait_for_permit, NULL);
    }
    until_waiting(WAITERS);
    for (int i = 1; i <= WAITERS; i++) {
        pthread_mutex_lock(&mutex);
        permits++;
        EXPECT_EQ(pthread_cond_signal(&cond), 0);
        pthread_mutex_unlock(&mutex);
        until_waiting(WAITERS - i);
        sleep_ms(3);
        pthread_mutex_lock(&mutex);
        EXPECT_EQ(woken, i);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < WAITERS; i++) {
        finish(threads[i]);
    }
}

static void broadcast_wakes_all(void)
{
    enum { WAITERS = 30 };
    for (int held = 0; held < 2; held++) {
        pthread_t threads[WAITERS];
        waiting = woken = permits = 0;
        for (int i = 0; i < WAITERS; i++) {
            threads[i] = start(wait_for_permit, NULL);
        }
        until_waiting(WAITERS);
        pthread_mutex_lock(&mutex);
        permits = WAITERS;
        if (held) {
            EXPECT_EQ(pthread_cond_broadcast(&cond), 0);
        }
        pthread_mutex_unlock(&mutex);
        if (!held) {
            EXPECT_EQ(pthread_cond_broadcast(&cond), 0);
        }
        for (int i = 0; i < WAITERS; i++) {
            finish(threads[i]);
        }
        EXPECT_EQ(permits, 0);
        EXPECT_EQ(woken, WAITERS);
    }
}

static void signal_without_waiters_is_lost(void)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 10);
    EXPECT_EQ(pthread_cond_signal(&cond), 0);
    EXPECT_EQ(pthread_cond_broadcast(&cond), 0);
    pthread_mutex_lock(&mutex);
    EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &deadline), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
}

static void *try_mutex(void *argument)
{
    int error = pthread_mutex_trylock(argument);
    if (error == 0) {
        pthread_mutex_unlock(argument);
    }
    return (void *)(intptr_t)error;
}

static void cond_make(pthread_cond_t *made, clockid_t clock)
{
    pthread_condattr_t attr;
    EXPECT_EQ(pthread_condattr_init(&attr), 0);
    EXPECT_EQ(pthread_condattr_setclock(&attr, clock), 0);
    EXPECT_EQ(pthread_cond_init(made, &attr), 0);
    EXPECT_EQ(pthread_condattr_destroy(&attr), 0);
}

static void timedwait_times_out_with_the_mutex_held(void)
{
    clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC };
    for (int i = 0; i < 4; i++) {
        pthread_cond_t timed;
        clockid_t clock = clocks[i % 2];
        cond_make(&timed, i < 2 ? clock : clocks[(i + 1) % 2]);
        pthread_mutex_lock(&mutex);
        struct timespec deadline = ms_from_now(clock, 30);
        int64_t began = now_ns(CLOCK_MONOTONIC);
        EXPECT_EQ(i < 2 ? pthread_cond_timedwait(&timed, &mutex, &deadline)
                        : pthread_cond_clockwait(&timed, &mutex, clock, &deadline),
                  ETIMEDOUT);
        EXPECT(now_ns(clock) >= deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec);
        EXPECT(ms_since(began) < 15000);
        EXPECT_EQ((intptr_t)finish(start(try_mutex, &mutex)), EBUSY);
        EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
        EXPECT_EQ((intptr_t)finish(start(try_mutex, &mutex)), 0);
        EXPECT_EQ(pthread_cond_destroy(&timed), 0);
    }
}

static void passed_deadlines_time_out_at_once(void)
{
    struct timespec deadlines[] = { ms_from_now(CLOCK_REALTIME, -1000), { 0, 0 }, { -1, 0 } };
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &deadlines[i]), ETIMEDOUT);
        EXPECT_EQ((intptr_t)finish(start(try_mutex, &mutex)), EBUSY);
    }
    pthread_mutex_unlock(&mutex);
}

static void invalid_arguments_are_EINVAL_and_keep_the_mutex(void)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 1000);
    pthread_condattr_t attr;
    clockid_t clock = -1;
    int shared = -1;
    pthread_mutex_lock(&mutex);
    EXPECT_EQ(pthread_cond_clockwait(&cond, &mutex, CLOCK_BOOTTIME, &deadline), EINVAL);
    EXPECT_EQ(pthread_cond_clockwait(&cond, &mutex, 77, &deadline), EINVAL);
    deadline.tv_nsec = 1000000000;
    EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &deadline), EINVAL);
    deadline.tv_nsec = -1;
    EXPECT_EQ(pthread_cond_timedwait(&cond, &mutex, &deadline), EINVAL);
    EXPECT_EQ((intptr_t)finish(start(try_mutex, &mutex)), EBUSY);
    pthread_mutex_unlock(&mutex);
    EXPECT_EQ(pthread_condattr_init(&attr), 0);
    EXPECT_EQ(pthread_condattr_getclock(&attr, &clock), 0);
    EXPECT_EQ(clock, CLOCK_REALTIME);
    EXPECT_EQ(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
    EXPECT_EQ(pthread_condattr_setclock(&attr, 99), EINVAL);
    EXPECT_EQ(pthread_condattr_getpshared(&attr, &shared), 0);
    EXPECT_EQ(shared, PTHREAD_PROCESS_PRIVATE);
    EXPECT_EQ(pthread_condattr_setpshared(&attr, 9), EINVAL);
    EXPECT_EQ(pthread_condattr_destroy(&attr), 0);
}

static void wait_without_owning_an_errorcheck_mutex_is_EPERM(void)
{
    pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, 1000);
    EXPECT_EQ(pthread_cond_wait(&cond, &checking), EPERM);
    EXPECT_EQ(pthread_cond_timedwait(&cond, &checking, &deadline), EPERM);
    EXPECT_EQ(pthread_mutex_lock(&checking), 0);
    EXPECT_EQ(pthread_mutex_unlock(&checking), 0);
}

struct table {
    pthread_mutex_t mutex;
    pthread_cond_t turned;
    int turn, players, rounds;
};

struct player {
    struct table *table;
    int me;
};

static void *play(void *argument)
{
    struct player *player = argument;
    struct table *table = player->table;
    for (int round = 0; round < table->rounds; round++) {
        pthread_mutex_lock(&table->mutex);
        while (table->turn != player->me) {
            pthread_cond_wait(&table->turned, &table->mutex);
        }
        table->turn = (table->turn + 1) % table->players;
        pthread_cond_broadcast(&table->turned);
        pthread_mutex_unlock(&table->mutex);
    }
    return NULL;
}

static void turns_go_round(void)
{
    enum { PLAYERS = 5 };
    struct table table = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, PLAYERS, 200 };
    struct player players[PLAYERS];
    pthread_t threads[PLAYERS];
    for (int i = 0; i < PLAYERS; i++) {
        players[i] = (struct player){ &table, i };
        threads[i] = start(play, &players[i]);
    }
    for (int i = 0; i < PLAYERS; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(table.turn, 0);
}

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t filled, drained;
    int slots[4], count, head;
    int64_t sum;
};

static void *produce(void *argument)
{
    struct ring *ring = argument;
    for (int i = 1; i <= 500; i++) {
        pthread_mutex_lock(&ring->mutex);
        while (ring->count == 4) {
            pthread_cond_wait(&ring->drained, &ring->mutex);
        }
        ring->slots[(ring->head + ring->count++) % 4] = i;
        pthread_mutex_unlock(&ring->mutex);
        pthread_cond_signal(&ring->filled);
    }
    return NULL;
}

static void *consume(void *argument)
{
    struct ring *ring = argument;
    for (int i = 1; i <= 500; i++) {
        struct timespec deadline = ms_from_now(CLOCK_REALTIME, 10000);
        pthread_mutex_lock(&ring->mutex);
        while (ring->count == 0) {
            EXPECT_EQ(i % 2 ? pthread_cond_wait(&ring->filled, &ring->mutex)
                            : pthread_cond_timedwait(&ring->filled, &ring->mutex, &deadline),
                      0);
        }
        ring->sum += ring->slots[ring->head];
        ring->head = (ring->head + 1) % 4;
        ring->count--;
        pthread_mutex_unlock(&ring->mutex);
        pthread_cond_signal(&ring->drained);
    }
    return NULL;
}

static void producers_and_consumers(void)
{
    struct ring ring = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, { 0 }, 0, 0, 0 };
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        threads[i] = start(i % 2 ? consume : produce, &ring);
    }
    for (int i = 0; i < 8; i++) {
        finish(threads[i]);
    }
    EXPECT_EQ(ring.sum, 4 * 500 * 501 / 2);
    EXPECT_EQ(ring.count, 0);
}

struct brief_cond {
    pthread_cond_t cond;
    int waiting, go;
};

static void *wait_on_brief(void *argument)
{
    struct brief_cond *brief = argument;
    pthread_mutex_lock(&mutex);
    brief->waiting++;
    while (!atomic_get(&brief->go)) {
        pthread_cond_wait(&brief->cond, &mutex);
        break;
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void may_be_destroyed_right_after_broadcast(void)
{
    for (int round = 0; round < 100; round++) {
        struct brief_cond brief = { .waiting = 0 };
        pthread_t threads[4];
        pthread_cond_init(&brief.cond, NULL);
        for (int i = 0; i < 4; i++) {
            threads[i] = start(wait_on_brief, &brief);
        }
        for (int entered = 0; entered < 4; sched_yield()) {
            pthread_mutex_lock(&mutex);
            entered = brief.waiting;
            pthread_mutex_unlock(&mutex);
        }
        pthread_mutex_lock(&mutex);
        pthread_cond_broadcast(&brief.cond);
        pthread_mutex_unlock(&mutex);
        EXPECT_EQ(pthread_cond_destroy(&brief.cond), 0);
        memset(&brief.cond, 0xff, sizeof brief.cond);
        for (int i = 0; i < 4; i++) {
            finish(threads[i]);
        }
    }
}

static void *wait_briefly(void *argument)
{
    struct timespec deadline = ms_from_now(CLOCK_REALTIME, (intptr_t)argument % 4);
    pthread_mutex_lock(&mutex);
    waiting++;
    int error = 0;
    while (permits == 0 && error == 0) {
        error = pthread_cond_timedwait(&cond, &mutex, &deadline);
    }
    int got = permits > 0;
    permits -= got;
    pthread_mutex_unlock(&mutex);
    return (void *)(intptr_t)got;
}

static void no_permit_is_lost_to_waiters_that_time_out(void)
{
    for (int round = 0; round < 30; round++) {
        pthread_t brief[6];
        waiting = permits = 0;
        for (intptr_t i = 0; i < 6; i++) {
            brief[i] = start(wait_briefly, (void *)i);
        }
        pthread_t patient = start(wait_for_permit, NULL);
        int taken = 0;
        for (int i = 0; i < 7; i++) {
            pthread_mutex_lock(&mutex);
            permits++;
            pthread_cond_signal(&cond);
            pthread_mutex_unlock(&mutex);
            sched_yield();
        }
        finish(patient);
        for (int i = 0; i < 6; i++) {
            taken += (int)(intptr_t)finish(brief[i]);
        }
        EXPECT_EQ(permits + taken, 6);
    }
}

static void *wait_recursively(void *argument)
{
    pthread_mutex_t *recursive = argument;
    pthread_mutex_lock(recursive);
    atomic_set(&woken, 1);
    EXPECT_EQ(pthread_cond_wait(&cond, recursive), 0);
    EXPECT_EQ(pthread_mutex_lock(recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(recursive), 0);
    EXPECT_EQ(pthread_mutex_unlock(recursive), EPERM);
    return NULL;
}

static void works_with_recursive_mutexes(void)
{
    pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    atomic_set(&woken, 0);
    pthread_t thread = start(wait_recursively, &recursive);
    EXPECT(wait_for_value(&woken, 1));
    pthread_mutex_lock(&recursive);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&recursive);
    finish(thread);
}

static int handling, go_on;

static void count_handler(int number)
{
    (void)number;
    atomic_add(&handling, 1);
    while (!atomic_get(&go_on)) {
        sleep_ms(1);
    }
}

static void *wait_only_once(void *argument)
{
    pthread_mutex_lock(&mutex);
    waiting = 1;
    EXPECT_EQ(pthread_cond_wait(&cond, &mutex), 0);
    waiting = 0;
    atomic_add(&woken, 1);
    pthread_mutex_unlock(&mutex);
    return argument;
}

/* libc's waits go on after a handler, and some programs have no loop. */
static void handlers_do_not_end_the_wait(void)
{
    struct sigaction action = { .sa_handler = count_handler };
    EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_set(&handling, 0);
    atomic_set(&go_on, 1);
    woken = waiting = 0;
    pthread_t thread = start(wait_only_once, NULL);
    until_waiting(1);
    for (int i = 1; i <= 20; i++) {
        EXPECT_EQ(pthread_kill(thread, SIGUSR1), 0);
        EXPECT(wait_for_value(&handling, i));
    }
    let_others_block();
    EXPECT_EQ(atomic_get(&woken), 0);
    pthread_mutex_lock(&mutex);
    EXPECT_EQ(pthread_cond_signal(&cond), 0);
    pthread_mutex_unlock(&mutex);
    finish(thread);
    EXPECT_EQ(woken, 1);
}

static void signal_is_not_lost_to_a_handler(void)
{
    for (int i = 0; i < 20; i++) {
        atomic_set(&handling, 0);
        atomic_set(&go_on, 0);
        woken = waiting = 0;
        pthread_t thread = start(wait_only_once, NULL);
        until_waiting(1);
        EXPECT_EQ(pthread_kill(thread, SIGUSR1), 0);
        EXPECT(wait_for_value(&handling, 1));
        pthread_mutex_lock(&mutex);
        EXPECT_EQ(pthread_cond_signal(&cond), 0);
        pthread_mutex_unlock(&mutex);
        atomic_set(&go_on, 1);
        finish(thread);
        EXPECT_EQ(woken, 1);
    }
}

static const struct check checks[] = {
    CHECK(signal_wakes_exactly_one),
    CHECK(broadcast_wakes_all),
    CHECK(signal_without_waiters_is_lost),
    CHECK(timedwait_times_out_with_the_mutex_held),
    CHECK(passed_deadlines_time_out_at_once),
    CHECK(invalid_arguments_are_EINVAL_and_keep_the_mutex),
    CHECK(wait_without_owning_an_errorcheck_mutex_is_EPERM),
    CHECK(turns_go_round),
    CHECK(producers_and_consumers),
    CHECK(may_be_destroyed_right_after_broadcast),
    CHECK(no_permit_is_lost_to_waiters_that_time_out),
    CHECK(works_with_recursive_mutexes),
    CHECK(handlers_do_not_end_the_wait),
    CHECK(signal_is_not_lost_to_a_handler),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
