// Ten thousand threads alive at once, each with data of its own in every place where a thread may keep some.
#include "check.h"

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

enum { THREADS = 10000 };

static __thread long own[20];
static thread_local std::string name;
static pthread_key_t key;
static int destroyed, keys_destroyed;

struct Witness {
    long me = -1;
    ~Witness()
    {
        if (me >= 0) {
            atomic_add(&destroyed, 1);
        }
    }
};
static thread_local Witness witness;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER, complete = PTHREAD_COND_INITIALIZER;
static int present, stage;

// Counts this thread in and waits for the stage to begin: everybody is blocked here at the same moment.
static void wait_for_stage(int wanted)
{
    pthread_mutex_lock(&mutex);
    if (++present == THREADS) {
        pthread_cond_signal(&complete);
    }
    while (stage < wanted) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void verify(long me, const char *error_text)
{
    std::string expected = "Unknown error " + std::to_string(100000 + me);
    EXPECT_EQ(errno, me % 4000 + 1);
    EXPECT(expected == error_text);
    EXPECT(name == "thread " + std::to_string(me));
    EXPECT_EQ((long)(intptr_t)pthread_getspecific(key), me + 1);
    EXPECT_EQ(witness.me, me);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(own[i], me * 20 + i);
    }
}

static void *live(void *argument)
{
    long me = (long)(intptr_t)argument;
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(own[i], 0);
        own[i] = me * 20 + i;
    }
    EXPECT(name.empty());
    name = "thread " + std::to_string(me);
    witness.me = me;
    pthread_setspecific(key, (void *)(intptr_t)(me + 1));
    const char *error_text = strerror((int)(100000 + me));
    errno = (int)(me % 4000 + 1);
    try {
        throw std::runtime_error(std::to_string(me));
    } catch (const std::exception &caught) {
        int saved = errno;
        wait_for_stage(1);
        errno = saved;
        verify(me, error_text);
        EXPECT(std::to_string(me) == caught.what());
        try {
            throw;
        } catch (const std::runtime_error &again) {
            EXPECT(std::to_string(me) == again.what());
        }
    }
    return argument;
}

static void ten_thousand_at_once()
{
    static pthread_t threads[THREADS];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 << 10);
    EXPECT_EQ(pthread_key_create(&key, [](void *) { atomic_add(&keys_destroyed, 1); }), 0);
    for (long i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], &attr, live, (void *)i);
        if (error != 0) {
            printf("FAIL create %ld: %s\n", i, strerror(error));
            exit(3);
        }
    }
    pthread_mutex_lock(&mutex);
    while (present < THREADS) {
        pthread_cond_wait(&complete, &mutex);
    }
    stage = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    for (long i = 0; i < THREADS; i++) {
        EXPECT(finish(threads[i]) == (void *)i);
    }
    EXPECT_EQ(destroyed, THREADS);
    EXPECT_EQ(keys_destroyed, THREADS);
    EXPECT_EQ(own[3], 0);
    EXPECT(name.empty());
}

static void *nothing(void *argument)
{
    return argument;
}

static void ten_thousand_one_after_another()
{
    for (long i = 0; i < THREADS; i++) {
        pthread_t thread = start(nothing, (void *)i);
        void *value = nullptr;
        pthread_join(thread, &value);
        EXPECT(value == (void *)i);
    }
}

static const struct check checks[] = {
    CHECK(ten_thousand_at_once),
    CHECK(ten_thousand_one_after_another),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}
