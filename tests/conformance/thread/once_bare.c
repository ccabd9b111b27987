/* pthread_once() in a program without unwind tables: a cancelled initialiser leaves the next one to do it there too. */
#include "check.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int started, complete, cleaned;

static void initialise_for_ever(void)
{
    atomic_set(&started, 1);
    for (;;) {
        sleep(3600);
    }
}

static void initialise(void)
{
    complete++;
}

static void clean(void *argument)
{
    (void)argument;
    cleaned++;
}

static void *call_once(void *argument)
{
    pthread_cleanup_push(clean, NULL);
    pthread_once(&once, initialise_for_ever);
    pthread_cleanup_pop(0);
    return argument;
}

static void *complete_it(void *argument)
{
    EXPECT_EQ(pthread_once(&once, initialise), 0);
    return argument;
}

static void cancelled_initialiser_leaves_it_to_another(void)
{
    for (int i = 1; i <= 3; i++) {
        atomic_set(&started, 0);
        pthread_t thread = start(call_once, NULL);
        EXPECT(wait_for_value(&started, 1));
        EXPECT_EQ(pthread_cancel(thread), 0);
        EXPECT(finish(thread) == PTHREAD_CANCELED);
        EXPECT_EQ(cleaned, i);
    }
    finish(start(complete_it, NULL));
    EXPECT_EQ(complete, 1);
}

static const struct check checks[] = {
    CHECK(cancelled_initialiser_leaves_it_to_another),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
