/* Keys. Their values lie in libc's control block, which each green thread has of its own, so libc's
 * own calls set and get them. What libc does not do for a green thread is to run the destructors at
 * its end: they are remembered here.
 */
#include "key.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <threads.h>

#include "patch.h"

enum { KEY_BITS = 64, KEY_WORDS = PTHREAD_KEYS_MAX / KEY_BITS };

/* Of each key that was made and not deleted: its bit, and its destructor or NULL. A destructor is
 * stored before the bit is set. Any thread. */
static _Atomic uint64_t key_used[KEY_WORDS];
static _Atomic(void (*)(void *)) key_destructor[PTHREAD_KEYS_MAX];

static void key_made(unsigned key, void (*destructor)(void *))
{
    if (key >= PTHREAD_KEYS_MAX)
        return;
    atomic_store_explicit(&key_destructor[key], destructor, memory_order_relaxed);
    atomic_fetch_or_explicit(&key_used[key / KEY_BITS], UINT64_C(1) << key % KEY_BITS,
                             memory_order_release);
}

static void key_deleted(unsigned key)
{
    if (key < PTHREAD_KEYS_MAX)
        atomic_fetch_and_explicit(&key_used[key / KEY_BITS], ~(UINT64_C(1) << key % KEY_BITS),
                                  memory_order_relaxed);
}

/* True when there was a value. Values of keys without a destructor are dropped like the others. */
static bool key_run(unsigned key)
{
    void *value = pthread_getspecific(key);
    if (!value)
        return false;
    pthread_setspecific(key, NULL);
    void (*destructor)(void *) = atomic_load_explicit(&key_destructor[key], memory_order_relaxed);
    if (destructor)
        destructor(value);
    return true;
}

static bool key_run_all(void)
{
    bool found = false;
    for (unsigned word = 0; word < KEY_WORDS; word++) {
        /* Read again after each destructor: it may make and delete keys. */
        uint64_t later = ~UINT64_C(0);
        uint64_t keys;
        while ((keys = atomic_load_explicit(&key_used[word], memory_order_acquire) & later) != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(keys);
            later = ~((UINT64_C(2) << bit) - 1);
            found |= key_run(word * KEY_BITS + bit);
        }
    }
    return found;
}

void key_run_destructors(void)
{
    for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS && key_run_all(); round++)
        ;
}

/* ---- The calls, before the runtime has started too ---- */

int green_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    (void)patch_passes(PATCH_pthread_key_create);
    int error = real.pthread_key_create(key, destructor);
    if (!error)
        key_made(*key, destructor);
    return error;
}

int green_pthread_key_delete(pthread_key_t key)
{
    (void)patch_passes(PATCH_pthread_key_delete);
    int error = real.pthread_key_delete(key);
    if (!error)
        key_deleted(key);
    return error;
}

int green_tss_create(tss_t *key, tss_dtor_t destructor)
{
    (void)patch_passes(PATCH_tss_create);
    int result = real.tss_create(key, destructor);
    if (result == thrd_success)
        key_made(*key, destructor);
    return result;
}

void green_tss_delete(tss_t key)
{
    (void)patch_passes(PATCH_tss_delete);
    real.tss_delete(key);
    key_deleted(key);
}
