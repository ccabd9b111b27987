/* Thread-specific data: values per thread, destructors in POSIX's rounds, limits. */
#include "check.h"

#include <limits.h>

static pthread_key_t keys[8];
static int calls[8];
static int main_saw;

static void *set_and_yield(void *argument)
{
    for (int round = 0; round < 20; round++) {
        void *value = (void *)((intptr_t)argument * 1000 + round);
        EXPECT_EQ(pthread_setspecific(keys[0], value), 0);
        if (round % 5 == 0) {
            sleep_ms(1);
        } else {
            sched_yield();
        }
        EXPECT(pthread_getspecific(keys[0]) == value);
    }
    return pthread_getspecific(keys[0]);
}

static void each_thread_has_its_own_value(void)
{
    pthread_t threads[30];
    EXPECT_EQ(pthread_key_create(&keys[0], NULL), 0);
    EXPECT(pthread_getspecific(keys[0]) == NULL);
    pthread_setspecific(keys[0], &main_saw);
    for (intptr_t i = 0; i < 30; i++) {
        threads[i] = start(set_and_yield, (void *)i);
    }
    for (intptr_t i = 0; i < 30; i++) {
        EXPECT(finish(threads[i]) == (void *)(i * 1000 + 19));
    }
    EXPECT(pthread_getspecific(keys[0]) == &main_saw);
    EXPECT_EQ(pthread_key_delete(keys[0]), 0);
}

static void count_call(void *value)
{
    EXPECT(pthread_getspecific(keys[1]) == NULL);
    atomic_add(&calls[(intptr_t)value], 1);
}

static void *set_values(void *argument)
{
    pthread_setspecific(keys[1], argument);
    return NULL;
}

static void *set_then_unset(void *argument)
{
    pthread_setspecific(keys[1], argument);
    pthread_setspecific(keys[1], NULL);
    return NULL;
}

static void destructor_runs_once_with_the_value_and_the_key_emptied(void)
{
    memset(calls, 0, sizeof calls);
    EXPECT_EQ(pthread_key_create(&keys[1], count_call), 0);
    for (intptr_t i = 1; i < 8; i++) {
        finish(start(i == 4 ? set_then_unset : set_values, (void *)i));
    }
    for (int i = 1; i < 8; i++) {
        EXPECT_EQ(calls[i], i == 4 ? 0 : 1);
    }
    pthread_key_delete(keys[1]);
}

static int rounds;

static void set_again_until(void *value)
{
    rounds++;
    if ((intptr_t)value > 1) {
        pthread_setspecific(keys[2], (void *)((intptr_t)value - 1));
    }
}

static void *set_round_key(void *argument)
{
    pthread_setspecific(keys[2], argument);
    return NULL;
}

static void destructors_run_again_while_values_are_set(void)
{
    EXPECT_EQ(PTHREAD_DESTRUCTOR_ITERATIONS, 4);
    EXPECT_EQ(pthread_key_create(&keys[2], set_again_until), 0);
    for (intptr_t wanted = 1; wanted <= 6; wanted++) {
        rounds = 0;
        finish(start(set_round_key, (void *)wanted));
        EXPECT_EQ(rounds, wanted < 4 ? wanted : 4);
    }
    pthread_key_delete(keys[2]);
}

static char order[64];

static void note_and_set_first(void *value)
{
    strcat(order, value);
    if (strcmp(value, "b") == 0) {
        pthread_setspecific(keys[3], "A");
    }
}

static void *set_two_keys(void *argument)
{
    pthread_setspecific(keys[3], "a");
    pthread_setspecific(keys[4], "b");
    return argument;
}

static void value_set_by_a_destructor_gets_a_round(void)
{
    EXPECT_EQ(pthread_key_create(&keys[3], note_and_set_first), 0);
    EXPECT_EQ(pthread_key_create(&keys[4], note_and_set_first), 0);
    finish(start(set_two_keys, NULL));
    EXPECT_EQ(strlen(order), 3);
    EXPECT(strchr(order, 'a') && strchr(order, 'b') && strchr(order, 'A'));
    EXPECT(strchr(order, 'A') > strchr(order, 'b'));
    pthread_key_delete(keys[3]);
    pthread_key_delete(keys[4]);
}

static void block_in_destructor(void *value)
{
    sleep_ms(5);
    *(int *)value += 1;
    errno = 0;
    EXPECT(finish(start(set_two_keys, value)) == value);
}

static void *set_blocking_key(void *argument)
{
    pthread_setspecific(keys[5], argument);
    return NULL;
}

static void destructors_may_block_and_create_threads(void)
{
    int marks[5] = { 0 };
    pthread_t threads[5];
    EXPECT_EQ(pthread_key_create(&keys[3], NULL), 0);
    EXPECT_EQ(pthread_key_create(&keys[4], NULL), 0);
    EXPECT_EQ(pthread_key_create(&keys[5], block_in_destructor), 0);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(set_blocking_key, &marks[i]);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
        EXPECT_EQ(marks[i], 1);
    }
    for (int i = 3; i < 6; i++) {
        pthread_key_delete(keys[i]);
    }
}

static void *look_for_leftovers(void *argument)
{
    pthread_key_t *all = argument;
    int found = 0;
    for (int i = 0; i < 100; i++) {
        found += pthread_getspecific(all[i]) != NULL;
        pthread_setspecific(all[i], &found);
    }
    return (void *)(intptr_t)found;
}

static void new_threads_find_every_key_empty(void)
{
    pthread_key_t all[100];
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(pthread_key_create(&all[i], NULL), 0);
    }
    for (int i = 0; i < 50; i++) {
        EXPECT(finish(start(look_for_leftovers, all)) == NULL);
    }
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(pthread_key_delete(all[i]), 0);
    }
}

static void deleted_key_calls_no_destructor(void)
{
    memset(calls, 0, sizeof calls);
    EXPECT_EQ(pthread_key_create(&keys[1], count_call), 0);
    pthread_setspecific(keys[1], (void *)3);
    EXPECT_EQ(pthread_key_delete(keys[1]), 0);
    EXPECT_EQ(pthread_key_delete(keys[1]), EINVAL);
    EXPECT_EQ(pthread_setspecific(keys[1], NULL), EINVAL);
    EXPECT_EQ(calls[3], 0);
    EXPECT_EQ(pthread_key_create(&keys[1], count_call), 0);
    EXPECT(pthread_getspecific(keys[1]) == NULL);
    EXPECT_EQ(pthread_key_delete(keys[1]), 0);
}

static void there_are_PTHREAD_KEYS_MAX_keys(void)
{
    static pthread_key_t all[PTHREAD_KEYS_MAX + 1];
    int made = 0;
    while (made <= PTHREAD_KEYS_MAX && pthread_key_create(&all[made], NULL) == 0) {
        made++;
    }
    /* The C and C++ libraries may hold a few. */
    EXPECT(made >= PTHREAD_KEYS_MAX - 8 && made <= PTHREAD_KEYS_MAX);
    EXPECT_EQ(pthread_key_create(&all[PTHREAD_KEYS_MAX], NULL), EAGAIN);
    for (int i = 0; i < made; i++) {
        EXPECT_EQ(pthread_setspecific(all[i], &all[i]), 0);
    }
    for (int i = 0; i < made; i++) {
        EXPECT(pthread_getspecific(all[i]) == &all[i]);
        EXPECT_EQ(pthread_key_delete(all[i]), 0);
    }
}

static const struct check checks[] = {
    CHECK(each_thread_has_its_own_value),
    CHECK(destructor_runs_once_with_the_value_and_the_key_emptied),
    CHECK(destructors_run_again_while_values_are_set),
    CHECK(value_set_by_a_destructor_gets_a_round),
    CHECK(destructors_may_block_and_create_threads),
    CHECK(new_threads_find_every_key_empty),
    CHECK(deleted_key_calls_no_destructor),
    CHECK(there_are_PTHREAD_KEYS_MAX_keys),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
